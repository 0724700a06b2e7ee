//! The report as text of 80 columns.

use std::fmt::Write;

use super::bars;
use super::figures::{Bulk, Commits, Report};
use super::words::{count, size, time, times};

pub(crate) const WIDTH: usize = 80;
/// Of what a label and a colon stand before.
const LABEL: usize = 13;

pub(crate) fn whole(report: &Report, plotted: bool) -> String {
    let mut parts = vec![header(report), commits(report), bulk(report)];
    if plotted {
        parts.extend([bars::throughput(report), bars::latency(report)]);
    }
    parts.push(verdict(report));
    parts.join("\n")
}

fn header(report: &Report) -> String {
    let (machine, settings) = (&report.machine, &report.settings);
    let cache = machine.write_cache.as_deref().unwrap_or("unknown");
    let others = report.figures.others_cpu_share.map_or_else(String::new, |share| {
        format!("; others took {:.0} % of the CPUs meanwhile", share * 100.0)
    });
    let rounds = match settings.rounds {
        1 => "1 round".to_owned(),
        n => format!("{n} rounds"),
    };
    let rows = [
        ("directory", machine.directory.clone()),
        ("file system", format!("{} ({})", machine.file_system, machine.mount_options)),
        ("disk", format!("{}, cache: {cache}", machine.device)),
        ("machine", format!("Linux {}, {} CPUs", machine.kernel, machine.cpus)),
        ("log", format!("segments of {}, {}", size(settings.segment_bytes), report.methods())),
        ("measured", format!("{rounds} of {} ms a cell{others}", settings.cell_ms)),
    ];
    rows.iter().map(|(label, text)| wrapped(&format!("{label:LABEL$}"), text)).collect()
}

/// `text` behind `label`, its further lines below its first.
fn wrapped(label: &str, text: &str) -> String {
    let indent = " ".repeat(label.chars().count());
    let options = textwrap::Options::new(WIDTH).initial_indent(label).subsequent_indent(&indent);
    textwrap::fill(text, options) + "\n"
}

fn commits(report: &Report) -> String {
    let mut text = format!(
        "Each record durable before the next of its thread; \"bare\" is write and fdatasync\n\
         {:>8} {:>7} {:>9} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6}\n",
        "record", "threads", "per s", "x bare", "p50", "p99", "p99.9", "max", "a sync", "KiB"
    );
    for bare in &report.figures.bare_loop {
        text += &row("bare", bare);
        for cell in report.durable_of(bare.record_bytes) {
            text += &row(&cell.threads.to_string(), cell);
        }
    }
    text + "a sync: records that share one; KiB: written to the disk for each sync\n"
}

fn row(threads: &str, cell: &Commits) -> String {
    let written = cell.written_kib_per_sync.map_or("-".into(), |kib| format!("{kib:.1}"));
    format!(
        "{:>8} {threads:>7} {:>9} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {written:>6}\n",
        size(cell.record_bytes),
        count(cell.commits_per_second),
        times(cell.ratio_to_bare_loop),
        time(cell.latency_p50_us),
        time(cell.latency_p99_us),
        time(cell.latency_p999_us),
        time(cell.latency_max_us),
        times(cell.records_per_sync),
    )
}

fn bulk(report: &Report) -> String {
    let mut text = format!(
        "Buffered, one thread: appends, the same with one commit at the end, replay\n\
         {:>8} {:>11} {:>14} {:>10} {:>13} {:>10}\n",
        "record", "appends/s", "with commit/s", "MB/s", "replayed/s", "MB/s"
    );
    for Bulk {
        record_bytes,
        appends_per_second,
        committed_per_second,
        committed_mb_per_second,
        replayed_per_second,
        replayed_mb_per_second,
    } in &report.figures.bulk
    {
        let _infallible = writeln!(
            text,
            "{:>8} {:>11} {:>14} {:>10} {:>13} {:>10}",
            size(*record_bytes),
            count(*appends_per_second),
            count(*committed_per_second),
            count(*committed_mb_per_second),
            count(*replayed_per_second),
            count(*replayed_mb_per_second),
        );
    }
    text
}

fn verdict(report: &Report) -> String {
    let sentences = report.verdict.iter().map(|sentence| wrapped("- ", sentence));
    format!("What limits, and what to change\n{}", sentences.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    #[test]
    fn nothing_is_wider_than_80_columns() {
        let mut report = sample();
        report.machine.mount_options = "rw,relatime,".repeat(20);
        report.verdict = vec!["a sentence of many words ".repeat(20)];
        for cell in &mut report.figures.durable {
            cell.commits_per_second *= 50.0;
            cell.latency_max_us *= 1e4;
            cell.written_kib_per_sync = Some(2052.5);
        }
        let text = whole(&report, true);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn each_cell_has_a_row() {
        let text = whole(&sample(), false);
        let row = |line: &str| {
            text.lines().any(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") == line)
        };
        assert!(row("100 B bare 5,600 1.00 175 us 350 us 700 us 1.8 ms 1.00 4.0"), "{text}");
        assert!(row("100 B 64 145,600 26.0 175 us 350 us 700 us 1.8 ms 40.0 4.0"), "{text}");
        assert!(row("100 B 20.00 M 10.00 M 1,000 20.00 M 2,000"), "{text}");
    }

    #[test]
    fn what_is_not_counted_is_a_dash() {
        let mut report = sample();
        report.figures.durable.iter_mut().for_each(|cell| cell.written_kib_per_sync = None);
        let text = whole(&report, false);
        assert_eq!(text.lines().filter(|line| line.ends_with(" -")).count(), 6, "{text}");
    }
}
