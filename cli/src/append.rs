//! `duralog append`: one record a line from standard input.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use duralog::{Log, Lsn, SyncPolicy};

/// With `--sync interval`: how long a record may wait for its sync.
const INTERVAL: Duration = Duration::from_millis(200);

/// Append one record a line from standard input.
///
/// Any bytes; the newline is not part of the record, a carriage return is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: printf 'one\\ntwo\\n' | duralog append my-log --sync each --print-lsn")]
pub(crate) struct Arguments {
    /// The log's directory; created if there is none.
    dir: PathBuf,
    /// When to make records durable: after each, at the end, or every 200 ms.
    #[arg(long, value_enum, default_value_t = Sync::End)]
    sync: Sync,
    /// Bytes of a segment made from now on; 64 MiB in a new log.
    #[arg(long, value_name = "BYTES")]
    segment_size: Option<u64>,
    /// Print the LSN of each record on a line of its own, once it is durable.
    #[arg(long)]
    print_lsn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sync {
    Each,
    End,
    Interval,
}

/// LSNs that are still to be printed, none before its record is durable.
struct Printer {
    pending: Vec<Lsn>,
    /// Off: not asked for, or nobody reads any more.
    on: bool,
}

impl Printer {
    fn print_durable(&mut self, durable: Lsn) -> anyhow::Result<()> {
        let ready = self.pending.partition_point(|lsn| *lsn < durable);
        if ready == 0 {
            return Ok(());
        }
        let lines: String = self.pending.drain(..ready).map(|lsn| format!("{lsn}\n")).collect();
        let mut out = std::io::stdout().lock();
        let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        self.on = crate::unless_broken_pipe(written)?;
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut options = crate::options_for(&arguments.dir, arguments.segment_size);
    if arguments.sync == Sync::Interval {
        options = options.sync_policy(SyncPolicy::Interval(INTERVAL));
    }
    let log = options.open(&arguments.dir)?;
    let mut printer = Printer { pending: Vec::new(), on: arguments.print_lsn };
    let appended = append_lines(&log, arguments.sync, &mut printer);
    // Also after an error: what was appended before it is worth keeping.
    let committed = log.commit().map_err(anyhow::Error::from).and_then(|durable| printer.print_durable(durable));
    let closed = log.close();
    let (records, bytes) = appended?;
    committed?;
    closed.context("cannot close the log")?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{records} records, {bytes} bytes appended in {seconds:.3} s; the log ends at LSN {}", log.end());
    Ok(())
}

fn append_lines(log: &Log, sync: Sync, printer: &mut Printer) -> anyhow::Result<(u64, u64)> {
    let mut input = BufReader::with_capacity(256 << 10, std::io::stdin().lock());
    let (mut records, mut bytes, mut line) = (0, 0, Vec::new());
    loop {
        // The next read may wait for as long as the other side likes: what came before it is
        // made durable and told first.
        if printer.on && !input.buffer().contains(&b'\n') && !printer.pending.is_empty() {
            let durable = log.commit()?;
            printer.print_durable(durable)?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
            return Ok((records, bytes));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let lsn = log.append(&line)?;
        (records, bytes) = (records + 1, bytes + line.len() as u64);
        if printer.on {
            printer.pending.push(lsn);
        }
        if sync == Sync::Each {
            log.commit_to(lsn)?;
        }
        if printer.on && sync != Sync::End {
            printer.print_durable(log.durable())?;
        }
    }
}
