//! `duralog replay`: the records to standard output.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use duralog::Lsn;
use duralog::inspect::{Inspector, OwnedRecord};

/// Print each record and a newline.
///
/// Takes no lock and changes nothing. What is sound before damage is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog replay my-log --from 4096 --with-lsn")]
pub(crate) struct Arguments {
    /// The log's directory.
    dir: PathBuf,
    /// Begin at the first record at or after this LSN.
    #[arg(long)]
    from: Option<Lsn>,
    /// Print the LSN and a tab before each record.
    #[arg(long)]
    with_lsn: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let inspector = Inspector::open(&arguments.dir)?;
    let records = match arguments.from {
        Some(from) => inspector.records_from(from)?,
        None => inspector.records(),
    };
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    for record in records {
        match record {
            Ok(record) => {
                if !crate::unless_broken_pipe(print(&mut out, &record, arguments.with_lsn))? {
                    // Not flushed again when it is dropped.
                    drop(out.into_parts());
                    return Ok(());
                }
            }
            Err(error) => {
                crate::unless_broken_pipe(out.flush())?;
                return Err(error.into());
            }
        }
    }
    crate::unless_broken_pipe(out.flush())?;
    Ok(())
}

fn print(out: &mut impl Write, record: &OwnedRecord, with_lsn: bool) -> std::io::Result<()> {
    if with_lsn {
        write!(out, "{}\t", record.lsn)?;
    }
    out.write_all(&record.payload)?;
    out.write_all(b"\n")
}
