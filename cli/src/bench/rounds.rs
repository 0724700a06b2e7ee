//! All cells, round by round, and the figures that come of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use super::busy::Busy;
use super::figures::{Bulk, Commits, Figures, Settings};
use super::measure::{Bench, BulkSample, Payloads, Sample};
use super::words::{self, float};
use crate::out;

/// The samples of one size.
struct Row {
    record_bytes: u64,
    bare: Vec<Sample>,
    durable: Vec<(u32, Vec<Sample>)>,
    bulk: Vec<BulkSample>,
}

pub(crate) fn run(
    settings: &Settings,
    scratch: &Path,
    cpus: usize,
    stop: &AtomicBool,
) -> Result<Figures> {
    let largest = settings.record_bytes.last().copied().unwrap_or(0);
    let bench = Bench {
        dir: scratch,
        options: settings.options(),
        run: Duration::from_millis(settings.cell_ms),
        buffered_bytes: settings.buffered_bytes(),
        stop,
        payloads: Payloads::up_to(as_usize(largest)?),
    };
    let mut rows: Vec<Row> =
        settings.record_bytes.iter().map(|size| Row::new(*size, settings)).collect();
    let cells = settings.record_bytes.len() * (settings.threads.len() + 2);
    let progress = Progress::new(as_u64(cells) * u64::from(settings.rounds), bench.run, stop);
    progress.start("preparing");
    let bare_file = bench.bare_file()?;
    let busy = Busy::now();
    for _ in 0..settings.rounds {
        for row in &mut rows {
            let (bytes, size) = (as_usize(row.record_bytes)?, words::size(row.record_bytes));
            progress.start(&format!("bare loop, {size}"));
            row.bare.push(bench.bare_loop(&bare_file, bytes)?);
            progress.done()?;
            for (threads, samples) in &mut row.durable {
                progress.start(&format!("durable, {size}, {}", words::threads(*threads)));
                samples.push(bench.durable(*threads, bytes)?);
                progress.done()?;
            }
            progress.start(&format!("buffered and replay, {size}"));
            row.bulk.push(bench.bulk(bytes)?);
            progress.done()?;
        }
    }
    let cpus = float(as_u64(cpus));
    let others_cpu_share = Busy::others_since(busy);
    let mut figures = Figures { others_cpu_share, ..Figures::default() };
    rows.iter().try_for_each(|row| row.add_to(&mut figures, cpus))?;
    Ok(figures)
}

fn as_usize(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).context("a size")
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Row {
    fn new(record_bytes: u64, settings: &Settings) -> Row {
        let durable = settings.threads.iter().map(|threads| (*threads, Vec::new())).collect();
        Row { record_bytes, bare: Vec::new(), durable, bulk: Vec::new() }
    }

    fn add_to(&self, figures: &mut Figures, cpus: f64) -> Result<()> {
        let bare = commits(self.record_bytes, 1, &self.bare, cpus)?;
        let ceiling = bare.commits_per_second;
        figures.bare_loop.push(Commits { ratio_to_bare_loop: 1.0, ..bare });
        for (threads, samples) in &self.durable {
            let cell = commits(self.record_bytes, *threads, samples, cpus)?;
            let ratio_to_bare_loop = cell.commits_per_second / ceiling;
            figures.durable.push(Commits { ratio_to_bare_loop, ..cell });
        }
        figures.bulk.push(bulk(self.record_bytes, &self.bulk));
        Ok(())
    }
}

/// Medians; latencies of all rounds together, since the rarest of one round are few.
fn commits(record_bytes: u64, threads: u32, samples: &[Sample], cpus: f64) -> Result<Commits> {
    let mut all = Histogram::<u64>::new(2).context("a histogram")?;
    for sample in samples {
        all.add(&sample.latency).context("a histogram")?;
    }
    let of = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value));
    let rate = |s: &Sample| float(s.latency.len()) / s.seconds;
    let per_second = of(&rate);
    let us = |nanos: u64| float(nanos) / 1e3;
    let written = samples.iter().filter_map(|s| s.written_kib_per_sync);
    Ok(Commits {
        record_bytes,
        threads,
        commits_per_second: per_second,
        slowest_round_per_second: samples.iter().map(rate).fold(f64::INFINITY, f64::min),
        fastest_round_per_second: samples.iter().map(rate).fold(0.0, f64::max),
        mb_per_second: per_second * float(record_bytes) / 1e6,
        ratio_to_bare_loop: 0.0,
        latency_p50_us: us(all.value_at_quantile(0.5)),
        latency_p99_us: us(all.value_at_quantile(0.99)),
        latency_p999_us: us(all.value_at_quantile(0.999)),
        latency_max_us: us(all.max()),
        records_per_sync: of(&|s| s.records_per_sync),
        written_kib_per_sync: Some(median(written)).filter(|kib| *kib > 0.0),
        cpu_share: of(&|s| s.cpu_seconds / s.seconds / cpus),
    })
}

fn bulk(record_bytes: u64, samples: &[BulkSample]) -> Bulk {
    let of = |value: &dyn Fn(&BulkSample) -> f64| median(samples.iter().map(value));
    let committed_per_second = of(&|s| float(s.records) / s.committed);
    let replayed_per_second = of(&|s| float(s.replayed_records) / s.replayed);
    Bulk {
        record_bytes,
        appends_per_second: of(&|s| float(s.records) / s.appended),
        committed_per_second,
        committed_mb_per_second: committed_per_second * float(record_bytes) / 1e6,
        replayed_per_second,
        replayed_mb_per_second: replayed_per_second * float(record_bytes) / 1e6,
    }
}

/// The upper one of an even number; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// On standard error: which cell runs, and how long it will take.
struct Progress<'a> {
    bar: ProgressBar,
    /// What a cell is to take.
    cell: Duration,
    stop: &'a AtomicBool,
}

impl Progress<'_> {
    fn new(cells: u64, cell: Duration, stop: &AtomicBool) -> Progress<'_> {
        let line = "{msg:32} {wide_bar} {prefix} left";
        let style =
            ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = out::bar("", cells, true).with_style(style);
        Progress { bar, cell, stop }
    }

    fn start(&self, cell: &str) {
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let each = match done {
            0 => self.cell.as_secs_f64(),
            done => self.bar.elapsed().as_secs_f64() / float(done),
        };
        let left = (each * float(all.saturating_sub(done))).ceil();
        self.bar.set_prefix(format!("{left:.0} s"));
        self.bar.set_message(cell.to_owned());
        self.bar.tick();
    }

    fn done(&self) -> Result<()> {
        self.bar.inc(1);
        anyhow::ensure!(!self.stop.load(Ordering::Relaxed), "interrupted: nothing was left behind");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(nanos: &[u64], seconds: f64) -> Sample {
        let mut latency = Histogram::new(2).unwrap();
        nanos.iter().for_each(|n| latency.record(*n).unwrap());
        let written_kib_per_sync = Some(4.0 * seconds);
        Sample {
            seconds,
            latency,
            records_per_sync: seconds,
            written_kib_per_sync,
            cpu_seconds: 1.0,
        }
    }

    #[test]
    fn rates_are_medians_and_latencies_are_of_all_rounds() {
        let samples =
            [sample(&[100_000; 4], 2.0), sample(&[100_000; 4], 1.0), sample(&[900_000; 4], 4.0)];
        let found = commits(1000, 8, &samples, 2.0).unwrap();
        assert_eq!((found.commits_per_second, found.mb_per_second), (2.0, 0.002));
        let slowest_and_fastest = (found.slowest_round_per_second, found.fastest_round_per_second);
        assert_eq!(slowest_and_fastest, (1.0, 4.0));
        assert_eq!((found.records_per_sync, found.written_kib_per_sync), (2.0, Some(8.0)));
        assert!((found.cpu_share - 0.25).abs() < 1e-9);
        assert!((found.latency_p50_us / 100.0 - 1.0).abs() < 0.02, "{}", found.latency_p50_us);
        assert!((found.latency_max_us / 900.0 - 1.0).abs() < 0.02, "{}", found.latency_max_us);
    }

    #[test]
    fn what_no_one_counted_is_none() {
        let mut sample = sample(&[1000], 1.0);
        sample.written_kib_per_sync = None;
        assert_eq!(commits(1, 1, &[sample], 1.0).unwrap().written_kib_per_sync, None);
    }

    #[test]
    fn the_walk_counts_what_it_finds() {
        let samples = [BulkSample {
            records: 1000,
            appended: 0.5,
            committed: 1.0,
            replayed_records: 900,
            replayed: 0.1,
        }];
        let found = bulk(1000, &samples);
        assert_eq!((found.appends_per_second, found.committed_per_second), (2000.0, 1000.0));
        assert_eq!((found.replayed_per_second, found.replayed_mb_per_second), (9000.0, 9.0));
    }
}
