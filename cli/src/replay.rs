//! `duralog replay`: the records on standard output.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use duralog::inspect::{Inspector, OwnedRecord, Records};
use duralog::{Lsn, Tail};

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
}

const BUFFER: usize = 64 << 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    let mut records = match args.from {
        Some(from) => log.records_from(from)?,
        None => log.records(),
    };
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let copied = copy(&mut records, &mut out, args.with_lsn);
    // What is sound comes out before the error is told.
    match out.flush().map(|()| copied) {
        Ok(Ok(damage)) => damage?,
        Ok(Err(e)) | Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Ok(Err(e)) | Err(e) => return Err(crate::no_output(e)),
    }
    if let Some(Tail::Torn { at }) = records.tail() {
        crate::say(format_args!("a torn tail, never acknowledged, was left out at LSN {at}"));
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
        let OwnedRecord { lsn, payload, .. } = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        if with_lsn {
            write!(out, "{lsn}\t")?;
        }
        out.write_all(&payload)?;
        out.write_all(b"\n")?;
    }
    Ok(Ok(()))
}
