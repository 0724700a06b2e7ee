//! `duralog append`: standard input into the log, one record a line.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Stdout, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use duralog::{Log, Lsn, SyncPolicy, Tail};

use crate::interrupt::{Input, Interrupt};
use crate::lines::{self, Lines, Next};
use crate::out;

/// Append lines of standard input, each as a record.
///
/// The bytes as they are, without the newline. Ctrl-C ends the input, with an exit code of 1; a line that it cuts short is
/// left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: printf 'one\\ntwo\\n' | duralog append my-log --print-lsn")]
pub(crate) struct Args {
    /// Directory of the log; created if there is none
    dir: PathBuf,
    /// When records are made durable
    #[arg(long, value_enum, default_value_t = When::End)]
    sync: When,
    /// Size of a segment made from now on, such as 64MiB; else as large as the log's largest, 64 MiB in a new one
    #[arg(long, value_name = "BYTES")]
    segment_size: Option<ByteSize>,
    /// Print the LSN of each record on a line of its own, once it is durable
    #[arg(long)]
    print_lsn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// Each record before the next line is read
    Each,
    /// All at the end; with --print-lsn also when input pauses
    End,
    /// In the background every 200 ms, and at the end
    Interval,
}

const INTERVAL: Duration = Duration::from_millis(200);

impl When {
    /// How long input may pause before records that wait to be printed are committed.
    fn patience(self) -> Duration {
        match self {
            When::Each | When::End => Duration::ZERO,
            When::Interval => INTERVAL,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let mut options = crate::options_for(&args.dir, args.segment_size);
    let longest = options.largest_record();
    if args.sync == When::Interval {
        options = options.sync_policy(SyncPolicy::Interval(INTERVAL));
    }
    let log = options.open(&args.dir)?;
    // Only now: an opening is better ended at once.
    let interrupt = Interrupt::watched()?;
    let input = interrupt.ends(lines::stdin().context("standard input")?)?;
    if let Tail::Torn { at } = log.recovery().tail {
        out::say(format_args!("a torn tail, never acknowledged, was cut at LSN {at}"));
    }
    let mut session =
        Session { log: &log, sync: args.sync, longest, printer: None, done: Done::default() };
    if args.print_lsn {
        session.printer =
            Some(Printer { out: BufWriter::new(io::stdout()), waiting: VecDeque::new() });
    }
    let fed = session.feed(input, &interrupt);
    // Whatever ended the input, what was appended before is committed and acknowledged.
    let committed = session.commit();
    let closed = log.close().context("close");
    out::say(format_args!("{} in {:.3} s", session.done, started.elapsed().as_secs_f64()));
    fed.and(committed.map(drop)).and(closed)
}

struct Session<'a> {
    log: &'a Log,
    sync: When,
    /// Bytes of a line.
    longest: usize,
    printer: Option<Printer>,
    done: Done,
}

impl Session<'_> {
    /// Appends until the input ends, or no one reads the LSNs any more.
    fn feed(&mut self, input: Input, interrupt: &Interrupt) -> Result<()> {
        let mut lines = Lines::new(input, self.longest);
        loop {
            let waiting = self.printer.as_ref().is_some_and(|printer| !printer.waiting.is_empty());
            let patience = waiting.then(|| self.sync.patience());
            let number = self.done.records + 1;
            let next = interrupt.check().and_then(|()| Ok(lines.next(patience)?));
            let next = next.with_context(|| format!("line {number} of standard input"))?;
            let flow = match next {
                Next::End => return Ok(()),
                Next::Pause => self.commit()?,
                Next::Line(record) => {
                    self.append(record).with_context(|| format!("line {number}"))?
                }
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    fn append(&mut self, record: &[u8]) -> Result<ControlFlow<()>> {
        let lsn = self.log.append(record)?;
        self.done.add(lsn, record);
        if let Some(printer) = &mut self.printer {
            printer.waiting.push_back(lsn);
        }
        if self.sync == When::Each { self.commit() } else { self.print() }
    }

    fn commit(&mut self) -> Result<ControlFlow<()>> {
        let committed = self.log.commit();
        // After a failed sync too: what was durable before it is acknowledged.
        let flow = self.print();
        committed?;
        flow
    }

    fn print(&mut self) -> Result<ControlFlow<()>> {
        let Some(printer) = &mut self.printer else { return Ok(ControlFlow::Continue(())) };
        match printer.print_below(self.log.durable()) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(e) => Err(out::no_output(e)),
        }
    }
}

/// LSNs on their way to standard output.
struct Printer {
    out: BufWriter<Stdout>,
    /// Appended, not yet printed; ascending.
    waiting: VecDeque<Lsn>,
}

impl Printer {
    fn print_below(&mut self, durable: Lsn) -> io::Result<()> {
        if self.waiting.front().is_none_or(|lsn| *lsn >= durable) {
            return Ok(());
        }
        while let Some(lsn) = self.waiting.front().filter(|lsn| **lsn < durable) {
            writeln!(self.out, "{lsn}")?;
            self.waiting.pop_front();
        }
        self.out.flush()
    }
}

/// For the summary.
#[derive(Default)]
struct Done {
    records: u64,
    bytes: u64,
    first_and_last: Option<(Lsn, Lsn)>,
}

impl Done {
    fn add(&mut self, lsn: Lsn, record: &[u8]) {
        self.records += 1;
        self.bytes += record.len() as u64;
        let first = self.first_and_last.map_or(lsn, |(first, _)| first);
        self.first_and_last = Some((first, lsn));
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "appended {}, {} bytes", out::records(self.records), self.bytes)?;
        match self.first_and_last {
            Some((first, last)) => write!(f, ", LSN {first} to {last},"),
            None => Ok(()),
        }
    }
}
