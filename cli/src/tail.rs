//! `duralog tail`: the last records, and those that come.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use duralog::inspect::Inspector;
use duralog::{Reader, ReaderFollower};

use crate::out;
use crate::records::Printer;

/// Print the last records, and with -f those that come.
///
/// Needs no lock and changes nothing. To a terminal control characters are shown as escapes. With -f it ends where the log
/// is cut back to before what it has shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog tail my-log -f -n 3 --with-lsn")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// How many to begin with
    #[arg(short, long, value_name = "COUNT", default_value_t = 10)]
    number: u64,
    /// Go on with each record as it comes, also when the log is closed and opened again
    #[arg(short, long)]
    follow: bool,
    /// Only what survives a power cut: else what the writer has appended is shown at once
    #[arg(long)]
    durable: bool,
    /// Print the LSN and a tab before each record
    #[arg(long)]
    with_lsn: bool,
}

/// How often it looks whether anyone still reads what it prints.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a running writer may take away what was about to be read.
const ATTEMPTS: usize = 16;

pub(crate) fn run(args: &Args) -> Result<()> {
    let reader = Reader::open(&args.dir)?;
    let (mut records, damage) = before_the_last(args, &reader)?;
    let mut printer = Printer::new(args.with_lsn);
    let printed = loop {
        // Of those that come meanwhile it is not asked.
        let at_most = if args.follow { u64::MAX } else { args.number };
        match print_there(&mut records, &mut printer, at_most) {
            Ok(Ok(())) if args.follow => {}
            // They are the last that can be read, and not the last there are.
            Ok(Ok(())) => break Ok(damage.map_or(Ok(()), Err)),
            end => break end,
        }
        match records.next_timeout(PATIENCE) {
            Ok(Some(record)) => match printer.print(record.lsn, &record.payload) {
                Ok(()) => {}
                Err(e) => break Err(e),
            },
            Ok(None) if out::is_heard() => {}
            Ok(None) => break Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => break Ok(Err(error)),
        }
    };
    // What was read comes out before the error is told.
    printer.finish(printed)?.transpose().map_err(Into::into).map(drop)
}

/// Those that are there by now. The outer error is the output's, the inner one the log's.
fn print_there(
    records: &mut ReaderFollower,
    printer: &mut Printer,
    at_most: u64,
) -> io::Result<duralog::Result<()>> {
    for _ in 0..at_most {
        match records.try_next_payload() {
            Ok(Some((lsn, payload))) => printer.print(lsn, payload)?,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    printer.flush()?;
    Ok(Ok(()))
}

/// A follower that stands before the last records, and the damage that they end at, if it is that.
fn before_the_last(
    args: &Args,
    reader: &Reader,
) -> duralog::Result<(ReaderFollower, Option<duralog::Error>)> {
    let mut attempts = 0..ATTEMPTS;
    loop {
        match try_before_the_last(args, reader) {
            // A checkpoint passed it on the way.
            Err(duralog::Error::Gone { .. }) if attempts.next().is_some() => {}
            done => return done,
        }
    }
}

fn try_before_the_last(
    args: &Args,
    reader: &Reader,
) -> duralog::Result<(ReaderFollower, Option<duralog::Error>)> {
    let log = Inspector::open(&args.dir)?;
    let segments = &log.summary().segments;
    let follow = |from| {
        let records = reader.follow(from)?;
        Ok(if args.durable { records } else { records.published() })
    };
    // Nothing leads backwards: the last segment is read, then the last two, the last four..
    let mut back = 1;
    loop {
        let first = segments.len().checked_sub(back).and_then(|index| segments.get(index));
        let from = first.map_or(log.summary().head, |first| first.base.max(log.summary().head));
        let mut records = follow(from)?;
        let mut count = 0;
        let damage = loop {
            match records.try_next_payload() {
                Ok(Some(_)) => count += 1,
                Ok(None) => break None,
                Err(error @ duralog::Error::Gone { .. }) => return Err(error),
                Err(error) => break Some(error),
            }
        };
        // Of none it is not known where the log goes on: behind what is in the segment before, as a rule.
        if count >= args.number.max(1) || from == log.summary().head {
            records = follow(from)?;
            for _ in args.number..count {
                records.try_next_payload()?;
            }
            return Ok((records, damage));
        }
        back *= 2;
    }
}
