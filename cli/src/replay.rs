//! `duralog replay`: the records on standard output.

use std::io;
use std::path::PathBuf;

use anyhow::Result;
use duralog::inspect::{Doubt, Doubtful, Found, Inspector, Records, Salvage};
use duralog::{Lsn, Tail};

use crate::out;
use crate::records::Printer;

/// Print each record and a newline.
///
/// Needs no lock and changes nothing. To a terminal control characters are shown as escapes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog replay my-log --from 4096 --with-lsn")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Begin with the first record at or after this LSN, which must be in the log
    #[arg(long, value_name = "LSN")]
    from: Option<Lsn>,
    /// Print the LSN and a tab before each record
    #[arg(long)]
    with_lsn: bool,
    /// Go around damage: what is missing or in doubt is told on standard error
    #[arg(long)]
    salvage: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.salvage {
        return salvage(args);
    }
    let log = Inspector::open(&args.dir)?;
    let mut records = match args.from {
        Some(from) => log.records_from(from)?,
        None => log.records(),
    };
    let mut printer = Printer::new(args.with_lsn);
    let printed = copy(&mut records, &mut printer);
    // What is sound comes out before the error is told.
    match printer.finish(printed)? {
        Some(damage) => damage?,
        None => return Ok(()),
    }
    if let Some(Tail::Torn { at }) = records.tail() {
        out::say(format_args!("a torn tail, never acknowledged, was left out at LSN {at}"));
    }
    Ok(())
}

fn salvage(args: &Args) -> Result<()> {
    let mut salvage = Salvage::open(&args.dir)?;
    let mut printer = Printer::new(args.with_lsn);
    let from = args.from.unwrap_or(Lsn::MIN);
    let mut damaged = false;
    let printed = salvage.by_ref().try_for_each(|found| {
        match found {
            Found::Record(record) if record.lsn >= from => {
                printer.print(record.lsn, &record.payload)?;
            }
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
    if printer.finish(printed)?.is_some() {
        out::say(salvage.report());
        anyhow::ensure!(!damaged, "{} is damaged", args.dir.display());
    }
    Ok(())
}

/// The outer error is the output's, the inner one the log's.
fn copy(records: &mut Records<'_>, printer: &mut Printer) -> io::Result<duralog::Result<()>> {
    for record in records {
        match record {
            Ok(record) => printer.print(record.lsn, &record.payload)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}
