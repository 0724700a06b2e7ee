//! `duralog stat`: what the writer of a log does, second by second.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytesize::ByteSize;
use duralog::inspect::{Inspector, SegmentState};
use duralog::{Lsn, Reader, SyncStats};
use serde::Serialize;

use crate::{out, owner};

/// Show what the writer does, a line each second.
///
/// Rates, and how long its syncs take. Needs no lock. Of what is durable: records that were appended and not yet synced do not show. A writer that stopped shows zeros.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog stat my-log --interval 5")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Seconds between two lines
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// End after so many lines; else go on until interrupted
    #[arg(long, value_name = "LINES")]
    count: Option<u64>,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = (0.01..=86_400.0).contains(&seconds);
    fits.then_some(seconds).ok_or_else(|| "0.01 to 86400 seconds".to_owned())
}

/// The header is said again after so many lines: a screen.
const SCREEN: u64 = 20;

/// One line: the keys of the JSON.
#[derive(Serialize)]
struct Line {
    seconds: f64,
    writer: Option<u32>,
    syncs_per_second: f64,
    records_per_second: f64,
    payload_bytes_per_second: f64,
    log_bytes_per_second: f64,
    records_per_sync: f64,
    sync_p50_us: u128,
    sync_p99_us: u128,
    sync_max_us: u128,
    /// Of the time, that of a sync being under way.
    sync_busy: f64,
    durable: u64,
    sealed: usize,
    ready: usize,
}

/// What is known at one moment.
struct Look {
    at: Instant,
    stats: Option<SyncStats>,
    durable: Lsn,
    sealed: usize,
    ready: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let reader = Reader::open(&args.dir)?;
    match owner::of(&args.dir) {
        Some(pid) => out::say(format_args!("open in process {pid}")),
        None => out::say("not open, as far as this system tells"),
    }
    let interval = Duration::from_secs_f64(args.interval);
    let mut before = look(args, &reader)?;
    let mut number = 0;
    while args.count.is_none_or(|count| number < count) {
        std::thread::sleep(interval.saturating_sub(before.at.elapsed()));
        let now = look(args, &reader)?;
        let line = line(&before, &now, owner::of(&args.dir));
        let mut text = String::new();
        if args.json {
            writeln!(text, "{}", serde_json::to_string(&line)?)?;
        } else {
            if number % SCREEN == 0 {
                writeln!(text, "{HEADER}")?;
            }
            writeln!(text, "{}", as_text(&line))?;
        }
        if !out::print_on(&text)? {
            return Ok(());
        }
        before = now;
        number += 1;
    }
    Ok(())
}

fn look(args: &Args, reader: &Reader) -> Result<Look> {
    let log = Inspector::open(&args.dir)?;
    let count = |state| log.summary().segments.iter().filter(|s| s.state == state).count();
    let (sealed, ready) = (count(SegmentState::Sealed), count(SegmentState::Ready));
    let (stats, durable) = (reader.sync_stats()?, reader.durable()?);
    Ok(Look { at: Instant::now(), stats, durable, sealed, ready })
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn line(before: &Look, now: &Look, writer: Option<u32>) -> Line {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let since = match (&now.stats, &before.stats) {
        // The writer has opened the log anew: all of it is since.
        (Some(now), Some(before)) => now.since(before).or_else(|| Some(now.clone())),
        (now, _) => now.clone(),
    };
    let number = |of: fn(&SyncStats) -> u64| since.as_ref().map_or(0.0, |since| of(since) as f64);
    let percentile = |percent| since.as_ref().map_or(0, |s| s.percentile(percent).as_micros());
    let (syncs, records) = (number(SyncStats::syncs), number(SyncStats::records));
    let busy = since.as_ref().map_or(0.0, |since| since.time().as_secs_f64());
    Line {
        seconds,
        writer,
        syncs_per_second: syncs / seconds,
        records_per_second: records / seconds,
        payload_bytes_per_second: number(SyncStats::bytes) / seconds,
        log_bytes_per_second: now.durable.get().saturating_sub(before.durable.get()) as f64
            / seconds,
        records_per_sync: if syncs > 0.0 { records / syncs } else { 0.0 },
        sync_p50_us: percentile(50.0),
        sync_p99_us: percentile(99.0),
        sync_max_us: percentile(100.0),
        sync_busy: (busy / seconds).min(1.0),
        durable: now.durable.get(),
        sealed: now.sealed,
        ready: now.ready,
    }
}

const HEADER: &str =
    " syncs/s records/s    bytes/s rec/sync  p50 us  p99 us  max us busy sealed ready";

fn as_text(line: &Line) -> String {
    let Line { syncs_per_second, records_per_second, records_per_sync, sync_busy, .. } = line;
    let Line { sync_p50_us, sync_p99_us, sync_max_us, sealed, ready, .. } = line;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
    let bytes = ByteSize(line.payload_bytes_per_second as u64).display().iec().to_string();
    let busy = format!("{:.0}%", sync_busy * 100.0);
    format!(
        "{syncs_per_second:>8.0} {records_per_second:>9.0} {bytes:>10} {records_per_sync:>8.1} \
         {sync_p50_us:>7} {sync_p99_us:>7} {sync_max_us:>7} {busy:>4} {sealed:>6} {ready:>5}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_80_columns_under_its_header() {
        let line = Line {
            seconds: 1.0,
            writer: None,
            syncs_per_second: 5_623.0,
            records_per_second: 147_378.0,
            payload_bytes_per_second: 14_737_800.0,
            log_bytes_per_second: 0.0,
            records_per_sync: 26.2,
            sync_p50_us: 160,
            sync_p99_us: 640,
            sync_max_us: 2_097_152,
            sync_busy: 0.98,
            durable: 4096,
            sealed: 1000,
            ready: 1,
        };
        let text = as_text(&line);
        assert_eq!((text.chars().count(), HEADER.len()), (80, 80), "{text}");
    }
}
