//! Plots out of characters.

use super::figures::{Commits, Report};
use super::table::WIDTH;
use super::words::{count, size, threads, time, whole};

/// Left of the plots, with the space behind it.
const LABEL: usize = 20;
/// Right of a bar.
const FIGURE: usize = 10;
const BAR: usize = WIDTH - LABEL - FIGURE - 1;
const AXIS: usize = WIDTH - LABEL;
/// Parts of a full block, from an eighth on.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

pub(crate) fn throughput(report: &Report) -> String {
    let mut text =
        String::from("Records a second, each durable; bare: the disk's ceiling for one thread\n");
    for bare in &report.figures.bare_loop {
        let most = report.most_of(bare);
        text += &line(size(bare.record_bytes), "bare".into(), bare, most);
        for cell in report.durable_of(bare.record_bytes) {
            text += &line(String::new(), threads(cell.threads), cell, most);
        }
    }
    text
}

fn line(size: String, name: String, cell: &Commits, most: f64) -> String {
    let per_second = cell.commits_per_second;
    let bar = if name == "bare" {
        // Of another stuff, so that it is not taken for the log's.
        "░".repeat(usize::try_from(whole(share(per_second, most, BAR)).max(1)).unwrap_or(BAR))
    } else {
        bar(per_second, most)
    };
    format!("{size:<8} {name:<10} {bar} {}\n", count(per_second))
}

/// `value` of `most`, in eighths of a column.
fn bar(value: f64, most: f64) -> String {
    let eighths = usize::try_from(whole(share(value, most, BAR) * 8.0)).unwrap_or(0).max(1);
    "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default()
}

fn share(value: f64, most: f64, columns: usize) -> f64 {
    value / most * f64::from(u16::try_from(columns).unwrap_or(u16::MAX))
}

pub(crate) fn latency(report: &Report) -> String {
    let cells = report.figures.bare_loop.iter().flat_map(|bare| {
        let durable =
            report.durable_of(bare.record_bytes).map(|cell| (threads(cell.threads), cell));
        std::iter::once(("bare".to_owned(), bare)).chain(durable)
    });
    let cells: Vec<(String, &Commits)> = cells.collect();
    let Some(scale) = Scale::of(cells.iter().map(|(_, cell)| *cell)) else { return String::new() };
    let mut text =
        String::from("How long a commit takes, logarithmic; ● p50  ◆ p99  ▲ p99.9  ■ max\n");
    let mut before = None;
    for (name, cell) in cells {
        let said = before.replace(cell.record_bytes) != Some(cell.record_bytes);
        let size = if said { size(cell.record_bytes) } else { String::new() };
        text += &format!("{size:<8} {name:<10} {}\n", scale.marks(cell));
    }
    text + &" ".repeat(LABEL) + &scale.ticks() + "\n"
}

/// Decades of microseconds on the axis.
struct Scale {
    from: f64,
    decades: f64,
}

impl Scale {
    fn of<'a>(cells: impl Iterator<Item = &'a Commits> + Clone) -> Option<Scale> {
        let least = cells.clone().map(|cell| cell.latency_p50_us).reduce(f64::min)?;
        let most = cells.map(|cell| cell.latency_max_us).reduce(f64::max)?;
        let from = least.max(0.1).log10().floor();
        Some(Scale { from, decades: (most.max(0.1).log10().ceil() - from).max(1.0) })
    }

    fn column(&self, us: f64) -> usize {
        let share = (us.max(0.1).log10() - self.from) / self.decades;
        let last = AXIS - 1;
        usize::try_from(whole(share * f64::from(u16::try_from(last).unwrap_or(0))))
            .map_or(last, |at| at.min(last))
    }

    /// Where marks meet, the one that more commits stand for is seen.
    fn marks(&self, cell: &Commits) -> String {
        let marks = [
            (self.column(cell.latency_p50_us), '●'),
            (self.column(cell.latency_p99_us), '◆'),
            (self.column(cell.latency_p999_us), '▲'),
            (self.column(cell.latency_max_us), '■'),
        ];
        let [(first, _), .., (last, _)] = marks;
        let at = |column| {
            let mark = marks.iter().find(|(at, _)| *at == column).map(|(_, mark)| *mark);
            mark.unwrap_or(if column > first { '─' } else { ' ' })
        };
        (0..=last).map(at).collect()
    }

    /// A mark and a figure for each decade, where there is room; the last one ends with the axis.
    fn ticks(&self) -> String {
        let end = format!("{}|", decade(10f64.powf(self.from + self.decades)));
        let (mut text, room) = (String::new(), AXIS - end.len());
        let mut exponent = self.from;
        while exponent < self.from + self.decades {
            let us = 10f64.powf(exponent);
            let (at, said) = (self.column(us), format!("|{}", decade(us)));
            if at >= text.len() && at + said.len() <= room {
                text = format!("{text:at$}{said}");
            }
            exponent += 1.0;
        }
        format!("{text:room$}{end}")
    }
}

/// A power of ten, without digits behind a point.
pub(crate) fn decade(us: f64) -> String {
    time(us).replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        assert_eq!(bar(1.0, 1.0), "█".repeat(BAR));
        assert_eq!(bar(0.5, 1.0).chars().count(), BAR.div_ceil(2));
        assert_eq!(bar(0.0, 1.0), "▏");
        let text = throughput(&sample());
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 8, "{text}");
        assert!(rows[0].starts_with("100 B    bare       ░░"), "{text}");
        assert!(rows[3].starts_with("         64 threads █████") && rows[3].ends_with("145,600"));
    }

    #[test]
    fn marks_stand_at_their_decades() {
        let cell = Commits {
            latency_p50_us: 100.0,
            latency_p99_us: 1_000.0,
            latency_p999_us: 1_000.0,
            latency_max_us: 10_000.0,
            ..Commits::default()
        };
        let scale = Scale::of([&cell].into_iter()).unwrap();
        let (marks, ticks) = (scale.marks(&cell), scale.ticks());
        assert_eq!(marks.chars().next(), Some('●'));
        assert_eq!(marks.chars().count(), AXIS);
        assert!(ticks.starts_with("|100 us") && ticks.ends_with(" 10 ms|"), "{ticks}");
        assert_eq!(marks.chars().position(|c| c == '◆'), ticks.find("|1 ms"));
        assert!(!marks.contains('▲') && marks.ends_with('■'));
        let all = Scale { from: 0.0, decades: 8.0 }.ticks();
        assert!(all.len() == AXIS && all.starts_with("|1 us  |10 us"), "{all}");
    }
}
