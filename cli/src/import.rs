//! `duralog import`: records out of files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use duralog::Log;
use indicatif::BinaryBytes;

use crate::interrupt::{Input, Interrupt};
use crate::lines::{self, Lines, Next, too_long};
use crate::out;

/// Append the records of files, and commit them.
///
/// Each may be as large as a segment can hold. After a failure everything before it is in the log; the message says which
/// record of which file failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog import my-log /var/log/syslog")]
pub(crate) struct Args {
    /// Directory of the log; created if there is none
    dir: PathBuf,
    /// Files to read, in this order; - is standard input, as is none
    files: Vec<PathBuf>,
    /// How records stand in the files
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// Size of a segment made from now on, such as 64MiB; else as large as the log's largest, 64 MiB in a new one
    #[arg(long, value_name = "BYTES")]
    segment_size: Option<ByteSize>,
}

/// How records stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One a line
    Lines,
    /// Four bytes of length, little-endian, and the record: any bytes at all
    LengthPrefixed,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let options = crate::options_for(&args.dir, args.segment_size);
    let longest = options.largest_record();
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    // Before the log is made: none of them may be missing.
    let files = files.iter().map(|path| Ok((path.as_path(), open(path)?)));
    let files = files.collect::<Result<Vec<_>>>()?;
    let log = options.open(&args.dir)?;
    let total = files.iter().map(|(_, file)| file.metadata().map_or(0, |found| found.len())).sum();
    let is_file = |(_, file): &(&Path, File)| file.metadata().is_ok_and(|found| found.is_file());
    let bar = out::bar("importing", total, files.iter().all(is_file));
    let interrupt = Interrupt::watched()?;
    let (mut records, mut bytes) = (0, 0);
    let mut imported = Ok(());
    for (path, file) in files {
        let before = records;
        let fed = feed(&log, interrupt.ends(file)?, &interrupt, (args.format, longest), |len| {
            records += 1;
            bytes += len as u64;
            bar.inc(len as u64 + args.format.overhead());
        });
        if let Err(error) = fed {
            let number = records - before + 1;
            let name = if path.as_os_str() == "-" {
                "standard input".into()
            } else {
                path.display().to_string()
            };
            imported = Err(error.context(format!("{name}, record {number}")));
            break;
        }
    }
    bar.finish_and_clear();
    let committed = log.commit();
    let closed = log.close().context("close");
    let seconds = began.elapsed().as_secs_f64();
    let (records, bytes) = (out::records(records), BinaryBytes(bytes));
    out::say(format_args!("imported {records}, {bytes} in {seconds:.3} s"));
    imported.and(committed.map(drop).map_err(Into::into)).and(closed)
}

impl Format {
    /// Bytes of a file beside the record's own.
    pub(crate) fn overhead(self) -> u64 {
        match self {
            Format::Lines => 1,
            Format::LengthPrefixed => 4,
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let file = if path.as_os_str() == "-" { lines::stdin() } else { File::open(path) };
    let file = file.with_context(|| path.display().to_string())?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        bail!("{} is a directory", path.display());
    }
    Ok(file)
}

fn feed(
    log: &Log,
    file: Input,
    interrupt: &Interrupt,
    (format, longest): (Format, usize),
    mut done: impl FnMut(usize),
) -> Result<()> {
    match format {
        Format::Lines => {
            let mut lines = Lines::new(file, longest);
            while let Next::Line(record) = lines.next(None)? {
                log.append(record)?;
                done(record.len());
                interrupt.check()?;
            }
        }
        Format::LengthPrefixed => {
            let mut records =
                LengthPrefixed { input: BufReader::new(file), longest, record: Vec::new() };
            while let Some(record) = records.next()? {
                log.append(record)?;
                done(record.len());
                interrupt.check()?;
            }
        }
    }
    Ok(())
}

/// A reader of records behind their lengths.
struct LengthPrefixed<R> {
    input: R,
    longest: usize,
    record: Vec<u8>,
}

impl<R: Read> LengthPrefixed<R> {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut first = [0; 4];
        let (one, rest) = first.split_at_mut(1);
        if read_once(&mut self.input, one)? == 0 {
            return Ok(None);
        }
        self.input.read_exact(rest).map_err(cut_off)?;
        let len = usize::try_from(u32::from_le_bytes(first)).unwrap_or(usize::MAX);
        if len > self.longest {
            let it = format!(
                "its length field says {len} bytes (is the file length-prefixed?), more than"
            );
            return Err(too_long(&it, self.longest));
        }
        self.record.resize(len, 0);
        self.input.read_exact(&mut self.record).map_err(cut_off)?;
        Ok(Some(&self.record))
    }
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ io::ErrorKind::UnexpectedEof => io::Error::new(kind, "it ends within a record"),
        _ => error,
    }
}

fn read_once(input: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(to) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut records = LengthPrefixed { input: bytes, longest: 16 << 20, record: Vec::new() };
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            found.push(record.to_vec());
        }
        Ok(found)
    }

    #[test]
    fn records_of_any_bytes_stand_behind_their_lengths() {
        let found = all(b"\x03\0\0\0a\nb\0\0\0\0\x01\0\0\0\0").unwrap();
        assert_eq!(found, [&b"a\nb"[..], b"", b"\0"]);
        assert!(all(b"").unwrap().is_empty());
    }

    #[test]
    fn one_that_is_cut_off_or_too_long_is_an_error() {
        for bytes in [&b"\x03\0"[..], b"\x03\0\0\0ab"] {
            assert_eq!(all(bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(all(b"\x01\0\0\x01").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
