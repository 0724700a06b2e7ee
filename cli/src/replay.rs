//! `duralog replay`: the records on standard output.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use duralog::inspect::{Doubt, Doubtful, Found, Inspector, OwnedRecord, Records, Salvage};
use duralog::{Lsn, Tail};

use crate::out;

/// Print each record and a newline. Needs no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog replay my-log --from 4096 --with-lsn")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Begin with the first record at or after this LSN
    #[arg(long, value_name = "LSN")]
    from: Option<Lsn>,
    /// Print the LSN and a tab before each record
    #[arg(long)]
    with_lsn: bool,
    /// Go around damage: what is missing or in doubt is told on standard error
    #[arg(long)]
    salvage: bool,
}

const BUFFER: usize = 64 << 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.salvage {
        return salvage(args);
    }
    let log = Inspector::open(&args.dir)?;
    let mut records = match args.from {
        Some(from) => log.records_from(from)?,
        None => log.records(),
    };
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let copied = copy(&mut records, &mut out, args.with_lsn);
    // What is sound comes out before the error is told.
    match finish(out, copied)? {
        Some(damage) => damage?,
        None => return Ok(()),
    }
    if let Some(Tail::Torn { at }) = records.tail() {
        out::say(format_args!("a torn tail, never acknowledged, was left out at LSN {at}"));
    }
    Ok(())
}

/// What `copied` holds; none if no one reads the output any more.
fn finish<T>(mut out: impl Write, copied: io::Result<T>) -> Result<Option<T>> {
    match out.flush().and(copied) {
        Ok(copied) => Ok(Some(copied)),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(e) => Err(out::no_output(e)),
    }
}

fn salvage(args: &Args) -> Result<()> {
    let mut salvage = Salvage::open(&args.dir)?;
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let from = args.from.unwrap_or(Lsn::MIN);
    let mut damaged = false;
    let copied = salvage.by_ref().try_for_each(|found| {
        match found {
            Found::Record(record) if record.lsn >= from => write(&record, &mut out, args.with_lsn)?,
            Found::Gap(gap) => {
                // Else it is a torn tail.
                damaged |= gap.committed || gap.lsns.is_empty();
                out::say(&gap);
            }
            // Whole files of them may be left over.
            Found::Doubtful(Doubtful { record, why, .. }) if why != Doubt::Leftover => {
                out::say(format_args!("left out at LSN {}: {why}", record.lsn));
            }
            _ => {}
        }
        Ok(())
    });
    if finish(out, copied)?.is_some() {
        out::say(salvage.report());
        anyhow::ensure!(!damaged, "{} is damaged", args.dir.display());
    }
    Ok(())
}

/// The outer error is the output's, the inner one the log's.
fn copy(
    records: &mut Records<'_>,
    out: &mut impl Write,
    with_lsn: bool,
) -> io::Result<duralog::Result<()>> {
    for record in records {
        match record {
            Ok(record) => write(&record, out, with_lsn)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

fn write(record: &OwnedRecord, out: &mut impl Write, with_lsn: bool) -> io::Result<()> {
    if with_lsn {
        write!(out, "{}\t", record.lsn)?;
    }
    out.write_all(&record.payload)?;
    out.write_all(b"\n")
}
