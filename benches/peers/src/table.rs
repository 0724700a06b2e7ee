//! The tables of the report, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::cell::{Cell, Work};
use crate::peer::Outcome;
use crate::run::Run;

pub const DURALOG: &str = "duralog";
pub const FLOOR: &str = "floor";
/// What no log can pass.
const LIMITS: [&str; 3] = ["limit-written", "limit-fresh", "nothing"];
/// Their adapters sync beside them, since they do not.
const SYNCED_BESIDE: [&str; 1] = ["commitlog"];

/// The median of each field, over the rounds without error, by cell and name.
#[derive(Default)]
pub struct Results {
    /// duralog, the floor, then the peers as they come in the file.
    pub names: Vec<String>,
    versions: Vec<String>,
    medians: BTreeMap<(Cell, String), Run>,
    /// How many rounds failed and what the last of them said.
    failures: BTreeMap<(Cell, String), (usize, String)>,
}

/// Of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

fn medians(runs: &[Run]) -> Run {
    let of = |field: fn(&Run) -> f64| median(runs.iter().map(field).collect());
    Run {
        figure: of(|run| run.figure),
        p50: of(|run| run.p50),
        p99: of(|run| run.p99),
        p999: of(|run| run.p999),
        process_kib: of(|run| run.process_kib),
        disk_kib: of(|run| run.disk_kib),
        flushes: of(|run| run.flushes),
        peak_mib: of(|run| run.peak_mib),
        private_mib: of(|run| run.private_mib),
        ..Run::default()
    }
}

impl Results {
    /// Of the JSON lines that `run` wrote.
    pub fn read(path: &Path) -> Outcome<Results> {
        let text = fs::read_to_string(path)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Results::new(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    fn new(runs: Vec<Run>) -> Outcome<Results> {
        let mut results = Results::default();
        let mut measured: BTreeMap<(Cell, String), Vec<Run>> = BTreeMap::new();
        for run in runs {
            if !LIMITS.contains(&&*run.peer) && !results.names.contains(&run.peer) {
                results.names.push(run.peer.clone());
                results.versions.push(format!("{} {}", run.peer, run.version).trim().into());
            }
            let key = (run.cell.parse()?, run.peer.clone());
            match run.error {
                Some(error) => {
                    let failure = results.failures.entry(key).or_default();
                    *failure = (failure.0 + 1, error);
                }
                None => measured.entry(key).or_default().push(run),
            }
        }
        results.names.sort_by_key(|name| (name != DURALOG, name != FLOOR));
        results.medians = measured.into_iter().map(|(key, runs)| (key, medians(&runs))).collect();
        Ok(results)
    }

    pub fn get(&self, cell: Cell, name: &str) -> Option<&Run> {
        self.medians.get(&(cell, name.to_owned()))
    }

    /// Whether it syncs by itself, and flushes the disk in about every call of one thread that appends durably.
    pub fn syncs(&self, name: &str) -> bool {
        if SYNCED_BESIDE.contains(&name) {
            return false;
        }
        let cell = Cell { work: Work::Durable, threads: 1, size: 100 };
        name == FLOOR || self.get(cell, name).is_none_or(|run| run.flushes >= 0.5)
    }

    /// The peers that sync, the best of the cell first.
    fn best(&self, cell: Cell) -> Vec<(&str, &Run)> {
        let peers = self.names.iter().map(String::as_str);
        let mut peers: Vec<_> = peers
            .filter(|name| ![DURALOG, FLOOR].contains(name) && self.syncs(name))
            .filter_map(|name| Some((name, self.get(cell, name)?)))
            .collect();
        peers.sort_by(|(_, a), (_, b)| match cell.is_time() {
            true => a.figure.total_cmp(&b.figure),
            false => b.figure.total_cmp(&a.figure),
        });
        peers
    }

    /// Its name, with a star if it does not sync.
    pub fn label(&self, name: &str) -> String {
        if self.syncs(name) { name.into() } else { format!("{name}*") }
    }

    fn cells(&self, wanted: fn(Cell) -> bool) -> Vec<Cell> {
        let any = |cell: &Cell| {
            self.medians.keys().chain(self.failures.keys()).any(|(known, _)| known == cell)
        };
        Cell::all().into_iter().filter(|cell| wanted(*cell) && any(cell)).collect()
    }

    /// What `show` makes of the median, or `-`; and where a footnote tells of failures.
    fn entry(&self, cell: Cell, name: &str, show: impl Fn(&Run) -> String) -> String {
        let mut entry = self.get(cell, name).map_or("-".into(), show);
        let key = (cell, name.to_owned());
        if let Some(at) = self.failures.keys().position(|failed| *failed == key) {
            _ = write!(entry, "[^{}]", at + 1);
        }
        entry
    }

    /// A table of all names by cell.
    fn by_cell(&self, wanted: fn(Cell) -> bool, show: impl Fn(Cell, &Run) -> String) -> String {
        let head = self.names.iter().map(|name| self.label(name).replace('*', "\\*"));
        let mut out = header(head.collect());
        for cell in self.cells(wanted) {
            let entries =
                self.names.iter().map(|name| self.entry(cell, name, |run| show(cell, run)));
            out += &row(&cell.to_string(), entries.collect());
        }
        out
    }

    /// duralog beside the floor and the best peer.
    fn summary(&self) -> String {
        let head = ["duralog", "floor", "best peer", "duralog / best", "duralog / floor"];
        let mut out = header(head.map(String::from).into());
        for cell in self.cells(|_| true) {
            let best = self.best(cell).first().copied();
            let own = self.get(cell, DURALOG);
            // How many times as fast: of times it is the other's that is divided.
            let ratio = |other: Option<&Run>| match (own, other) {
                (Some(own), Some(other)) if cell.is_time() => times(other.figure / own.figure),
                (Some(own), Some(other)) => times(own.figure / other.figure),
                _ => "-".into(),
            };
            let entries = vec![
                self.entry(cell, DURALOG, |run| figure(cell, run)),
                self.entry(cell, FLOOR, |run| figure(cell, run)),
                best.map_or("-".into(), |(name, run)| format!("{} ({name})", figure(cell, run))),
                ratio(best.map(|(_, run)| run)),
                ratio(self.get(cell, FLOOR)),
            ];
            out += &row(&cell.to_string(), entries);
        }
        out
    }

    /// duralog beside what no log can pass.
    fn limits(&self) -> String {
        let head = ["duralog", LIMITS[0], LIMITS[1], LIMITS[2], "duralog / the lowest"];
        let mut out = header(head.map(String::from).into());
        for cell in self.cells(|cell| cell.has_limit()) {
            let names = [DURALOG, LIMITS[0], LIMITS[1], LIMITS[2]];
            let shown = |name: &str| !cell.is_durable() || name != LIMITS[2];
            let of = |name: &str| self.get(cell, name).map(|run| run.figure);
            let limits = names[1..].iter().filter(|name| shown(name));
            let lowest = limits.filter_map(|name| of(name)).reduce(f64::min);
            let ratio =
                of(DURALOG).zip(lowest).map_or("-".into(), |(own, lowest)| times(own / lowest));
            let show = |name: &str| self.entry(cell, name, |run| figure(cell, run));
            let mut entries: Vec<String> = names
                .iter()
                .map(|name| if shown(name) { show(name) } else { "-".into() })
                .collect();
            entries.push(ratio);
            out += &row(&cell.to_string(), entries);
        }
        out
    }

    fn latencies(&self) -> String {
        let head = ["duralog", "floor", "best peer", "second", "third"];
        let mut out = header(head.map(String::from).into());
        let show = |run: &Run| format!("{:.0} / {:.0} / {:.0}", run.p50, run.p99, run.p999);
        for cell in self.cells(|cell| cell.is_durable() && cell.work != Work::Batch) {
            let mut entries = [DURALOG, FLOOR].map(|name| self.entry(cell, name, show)).to_vec();
            let best = self.best(cell);
            entries.extend(best.iter().take(3).map(|(name, run)| format!("{name}: {}", show(run))));
            entries.resize(head.len(), "-".into());
            out += &row(&cell.to_string(), entries);
        }
        out
    }

    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut out = format!("Measured: {}.\n", self.versions.join(", "));
        let mut section = |title: &str, text: &str, table: String| {
            _ = write!(out, "\n### {title}\n\n{text}\n\n{table}");
        };
        section(
            "duralog, the floor and the best peer",
            "Records a second; to open, milliseconds. The ratios say how many times as fast duralog is: above 1 it is \
             faster, also where less is better.",
            self.summary(),
        );
        section(
            "All",
            "Records a second; to open, milliseconds. A star marks what flushes the disk in fewer than half of its \
             calls in durable-1x100: its records are not durable when it says so, and it is left out of the best.",
            self.by_cell(|_| true, figure),
        );
        section(
            "Limits",
            "Programs that do only what the cell cannot be done without (`src/peers/limit.rs`), and are no logs: \
             records gathered in memory, one write a sync, a leader that knows who will come; into blocks that were \
             written before the clock started, or only allocated. Nothing: the run itself, and encoding the events.",
            self.limits(),
        );
        section("Latency", "Of a call, microseconds: p50 / p99 / p99.9.", self.latencies());
        section(
            "What a durable call writes",
            "KiB by the process / KiB by the disk / flushes of the disk.",
            self.by_cell(
                |cell| cell.is_durable() && cell.work != Work::Batch,
                |_, run| {
                    format!("{:.1} / {:.1} / {:.2}", run.process_kib, run.disk_kib, run.flushes)
                },
            ),
        );
        section(
            "Memory",
            "MiB: peak, mapped files included / private at the end.",
            self.by_cell(
                |_| true,
                |_, run| format!("{:.0} / {:.0}", run.peak_mib, run.private_mib),
            ),
        );
        for (at, ((cell, name), (rounds, error))) in self.failures.iter().enumerate() {
            let error = error.replace('\n', " ");
            _ = write!(out, "\n[^{}]: {name}, {cell}, {rounds} failed: {error}\n", at + 1);
        }
        out
    }
}

fn row(first: &str, entries: Vec<String>) -> String {
    format!("| {first} | {} |\n", entries.join(" | "))
}

fn header(names: Vec<String>) -> String {
    let rule = "---:|".repeat(names.len());
    format!("{}|---|{rule}\n", row("", names))
}

pub fn figure(cell: Cell, run: &Run) -> String {
    match run.figure {
        ms if cell.is_time() && ms >= 999.5 => format!("{ms:.0} ms"),
        ms if cell.is_time() => format!("{} ms", short(ms)),
        rate => short(rate),
    }
}

fn times(ratio: f64) -> String {
    format!("{} x", short(ratio))
}

/// As short as it can be read: 0.25, 7.1, 35, 657, 9.8 k, 476 k, 1.23 M.
fn short(value: f64) -> String {
    match value {
        v if v < 0.995 => format!("{v:.2}"),
        v if v < 9.95 => format!("{v:.1}"),
        v if v < 999.5 => format!("{v:.0}"),
        v if v < 99_950.0 => format!("{:.1} k", v / 1e3),
        v if v < 999_500.0 => format!("{:.0} k", v / 1e3),
        v if v < 9_995_000.0 => format!("{:.2} M", v / 1e6),
        v => format!("{:.1} M", v / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(peer: &str, cell: &str, figure: f64, flushes: f64) -> Run {
        Run { peer: peer.into(), cell: cell.into(), figure, flushes, ..Run::default() }
    }

    fn best(results: &Results, cell: &str) -> Vec<String> {
        let cell = cell.parse().unwrap_or_else(|e| panic!("{e}"));
        results.best(cell).iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 4.0, 2.0]), 3.0);
    }

    #[test]
    fn rounds_with_an_error_do_not_count() -> Outcome<()> {
        let failed = Run { error: Some("gone".into()), ..run("a", "replay", 0.0, 0.0) };
        let runs = vec![failed, run("a", "replay", 5.0, 0.0), run("a", "replay", 7.0, 0.0)];
        let results = Results::new(runs)?;
        let replay = "replay".parse()?;
        assert_eq!(results.get(replay, "a").map(|run| run.figure), Some(6.0));
        assert!(results.entry(replay, "a", |run| figure(replay, run)).ends_with("6.0[^1]"));
        assert!(results.markdown().contains("[^1]: a, replay, 1 failed: gone"));
        Ok(())
    }

    #[test]
    fn the_best_peer_syncs_and_is_neither_duralog_nor_the_floor() -> Outcome<()> {
        let mut runs = Vec::new();
        for (name, figure, flushes) in [
            ("liar", 9e6, 0.0),
            ("slow", 3.0, 1.0),
            ("fast", 4.0, 1.0),
            (FLOOR, 8.0, 0.0),
            (DURALOG, 7.0, 1.0),
        ] {
            for cell in ["durable-1x100", "buffered-1x100", "open-clean"] {
                runs.push(run(name, cell, figure, flushes));
            }
        }
        let results = Results::new(runs)?;
        assert_eq!(results.names, [DURALOG, FLOOR, "liar", "slow", "fast"]);
        assert_eq!(best(&results, "durable-1x100"), ["fast", "slow"]);
        assert_eq!(best(&results, "buffered-1x100"), ["fast", "slow"]);
        // Less is better.
        assert_eq!(best(&results, "open-clean"), ["slow", "fast"]);
        assert!(best(&results, "replay").is_empty());
        assert_eq!([results.label("liar"), results.label("fast")], ["liar*", "fast"]);
        assert!(
            results
                .summary()
                .contains("| open-clean | 7.0 ms | 8.0 ms | 3.0 ms (slow) | 0.43 x | 1.1 x |")
        );
        Ok(())
    }

    #[test]
    fn figures_are_short() {
        let figures =
            [0.254, 7.13, 35.4, 657.0, 9_762.0, 99_960.0, 476_000.0, 1_234_000.0, 12_890_000.0];
        let shown = ["0.25", "7.1", "35", "657", "9.8 k", "100 k", "476 k", "1.23 M", "12.9 M"];
        assert_eq!(figures.map(short), shown);
    }
}
