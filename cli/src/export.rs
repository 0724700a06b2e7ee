//! `duralog export`: records into a file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use duralog::inspect::{Inspector, Records};
use duralog::{Lsn, Reader};
use indicatif::ProgressBar;

use crate::import::Format;
use crate::{interrupt, out};

/// Write the records into a file, or to standard output.
///
/// Needs no lock and changes nothing in the log. The file is there when all of it is, and durable; it replaces none.
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
    /// Begin with the first record at or after this LSN
    #[arg(long, value_name = "LSN")]
    from: Option<Lsn>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    let begin = args.from.unwrap_or(log.summary().head);
    let end = Reader::open(&args.dir)?.durable()?;
    let mut export = Export {
        records: match args.from {
            Some(from) => log.records_from(from)?,
            None => log.records(),
        },
        format: args.format,
        bar: out::bar("exporting", end.get().saturating_sub(begin.get())),
        begin,
        count: 0,
        interrupted: None,
    };
    match args.file.as_deref().filter(|file| file.as_os_str() != "-") {
        Some(file) => export.write_file(file)?,
        None => match export.write_output()? {
            true => {}
            false => return Ok(()),
        },
    }
    export.bar.finish_and_clear();
    out::say(format_args!("exported {} records", export.count));
    Ok(())
}

struct Export<'a> {
    records: Records<'a>,
    format: Format,
    bar: ProgressBar,
    begin: Lsn,
    count: u64,
    /// Of who leaves something behind.
    interrupted: Option<Arc<AtomicBool>>,
}

impl Export<'_> {
    /// Under another name until it is whole.
    fn write_file(&mut self, file: &Path) -> Result<()> {
        let named = || file.display().to_string();
        if file.try_exists().with_context(named)? {
            bail!("{} exists already", file.display());
        }
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        self.interrupted = Some(interrupt::watched()?);
        let temp = tempfile::Builder::new().prefix(".duralog-export-").tempfile_in(dir);
        let temp = temp.with_context(named)?;
        let mut out = BufWriter::new(temp);
        self.copy(&mut out).with_context(named)??;
        let temp = out.into_inner().map_err(|e| e.into_error()).with_context(named)?;
        out::sync(temp.as_file()).with_context(named)?;
        temp.persist_noclobber(file).map_err(|e| e.error).with_context(named)?;
        std::fs::File::open(dir).and_then(|dir| out::sync(&dir)).with_context(named)
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
                    out.write_all(payload)?;
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
