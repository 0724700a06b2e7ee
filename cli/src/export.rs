//! `duralog export`: records into a file.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use duralog::inspect::{Inspector, Records};
use duralog::{Lsn, Reader};
use indicatif::ProgressBar;

use crate::import::Format;
use crate::records::shown;
use crate::target::Target;
use crate::{interrupt, out};

/// Write the records into a file, or to standard output.
///
/// Needs no lock and changes nothing in the log. The file is there when all of it is, and durable; it replaces none. To a
/// terminal control characters are shown as escapes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog export my-log records.bin --format length-prefixed")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// The file; - is standard output, as is none
    file: Option<PathBuf>,
    /// How records are to stand in it
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// Begin with the first record at or after this LSN, which must be in the log
    #[arg(long, value_name = "LSN")]
    from: Option<Lsn>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let file = args.file.as_deref().filter(|file| file.as_os_str() != "-");
    let to_terminal = file.is_none() && io::stdout().is_terminal();
    ensure!(
        !to_terminal || args.format == Format::Lines,
        "binary records do not go to a terminal: name a file"
    );
    let log = Inspector::open(&args.dir)?;
    let begin = args.from.unwrap_or(log.summary().head);
    let end = Reader::open(&args.dir)?.durable()?;
    let mut export = Export {
        records: match args.from {
            Some(from) => log.records_from(from)?,
            None => log.records(),
        },
        format: args.format,
        // Where the records themselves are shown it would stand among them.
        bar: out::bar("exporting", end.get().saturating_sub(begin.get()), !to_terminal),
        to_terminal,
        begin,
        count: 0,
        interrupted: None,
    };
    match file {
        Some(file) => export.write_file(file)?,
        None => match export.write_output()? {
            true => {}
            false => return Ok(()),
        },
    }
    export.bar.finish_and_clear();
    out::say(format_args!("exported {}", out::records(export.count)));
    Ok(())
}

struct Export<'a> {
    records: Records<'a>,
    format: Format,
    to_terminal: bool,
    bar: ProgressBar,
    begin: Lsn,
    count: u64,
    /// Of who leaves something behind.
    interrupted: Option<Arc<AtomicBool>>,
}

impl Export<'_> {
    fn write_file(&mut self, file: &Path) -> Result<()> {
        self.interrupted = Some(interrupt::watched()?);
        let target = Target::new(file)?;
        let named = || file.display().to_string();
        let mut out = BufWriter::new(target);
        self.copy(&mut out).with_context(named)??;
        out.into_inner().map_err(|e| e.into_error()).with_context(named)?.finish()
    }

    /// False: no one reads it any more.
    fn write_output(&mut self) -> Result<bool> {
        let mut out = BufWriter::new(io::stdout().lock());
        let copied = self.copy(&mut out);
        match out.flush().and(copied) {
            Ok(copied) => copied.map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(out::no_output(e)),
        }
    }

    /// The outer error is the output's, the inner one the log's.
    fn copy(&mut self, out: &mut impl Write) -> io::Result<Result<()>> {
        for record in self.records.by_ref() {
            if self.interrupted.as_ref().is_some_and(|flag| flag.load(Ordering::Acquire)) {
                return Ok(Err(anyhow::anyhow!("interrupted")));
            }
            let record = match record {
                Ok(record) => record,
                Err(error) => return Ok(Err(error.into())),
            };
            let (lsn, payload) = (record.lsn, &record.payload);
            match self.format {
                Format::Lines if payload.contains(&b'\n') => {
                    return Ok(Err(anyhow::anyhow!(
                        "the record at LSN {lsn} has a newline in it: use --format length-prefixed"
                    )));
                }
                Format::Lines => {
                    if self.to_terminal {
                        out.write_all(shown(payload, usize::MAX).as_bytes())?;
                    } else {
                        out.write_all(payload)?;
                    }
                    out.write_all(b"\n")?;
                }
                Format::LengthPrefixed => {
                    // No record is as long as 4 GiB.
                    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    out.write_all(&len.to_le_bytes())?;
                    out.write_all(payload)?;
                }
            }
            self.count += 1;
            self.bar.set_position(lsn.get().saturating_sub(self.begin.get()));
        }
        Ok(Ok(()))
    }
}
