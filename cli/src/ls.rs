//! `duralog ls`: the files of a log, and what each is for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use duralog::inspect::{Inspector, SegmentInfo, Summary};
use indicatif::BinaryBytes;
use serde::Serialize;

use crate::out;

/// List the files of the log, and what each is for.
///
/// Needs no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog ls my-log")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    file: String,
    what: String,
    size: u64,
    /// Bytes of blocks that it takes on the disk.
    on_disk: u64,
    /// Of a segment of the log.
    base: Option<u64>,
    end: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    let shown = files(&args.dir, log.summary()).with_context(|| args.dir.display().to_string())?;
    if args.json { out::print_json(&shown) } else { out::print(&table(&shown)?) }
}

fn files(dir: &Path, summary: &Summary) -> std::io::Result<Vec<Shown>> {
    let segments: BTreeMap<&str, &SegmentInfo> =
        summary.segments.iter().map(|segment| (segment.file.as_str(), segment)).collect();
    let mut shown = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // It may be gone by now.
        let Ok(found) = entry.metadata() else { continue };
        let file = entry.file_name().to_string_lossy().into_owned();
        let segment = segments.get(file.as_str());
        shown.push(Shown {
            what: segment.map_or_else(|| what(&file).to_owned(), |s| state(s, found.len())),
            size: found.len(),
            on_disk: found.blocks() * 512,
            base: segment.map(|segment| segment.base.get()),
            end: segment.and_then(|segment| segment.end).map(duralog::Lsn::get),
            file,
        });
    }
    for (file, segment) in segments {
        if shown.iter().all(|shown| shown.file != file) {
            let (file, what) = (file.to_owned(), "missing".to_owned());
            let base = Some(segment.base.get());
            shown.push(Shown { file, what, size: 0, on_disk: 0, base, end: None });
        }
    }
    shown.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(shown)
}

fn state(segment: &SegmentInfo, len: u64) -> String {
    let state = segment.state;
    if len == segment.size { state.to_string() } else { format!("{state}, bad size") }
}

/// FORMAT.md, section 2.
fn what(file: &str) -> &'static str {
    match file {
        "MANIFEST" => "names the files",
        "MANIFEST.new" => "being written",
        "WATERMARK" => "durable LSN",
        "RESERVE" => "held in reserve",
        _ if file.ends_with(".seg") => "spare/left over",
        _ => "not of the log",
    }
}

fn table(shown: &[Shown]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let (file, size, disk, base, what) = ("file", "size", "on disk", "base", "what");
    writeln!(text, "{file:<20} {size:>10} {disk:>10} {base:>19}  {what}")?;
    for Shown { file, what, size, on_disk, base, .. } in shown {
        let (size, disk) = (BinaryBytes(*size).to_string(), BinaryBytes(*on_disk).to_string());
        let base = base.map_or_else(String::new, |base| base.to_string());
        writeln!(text, "{file:<20} {size:>10} {disk:>10} {base:>19}  {what}")?;
    }
    let (size, disk) = shown.iter().fold((0, 0), |(a, b), s| (a + s.size, b + s.on_disk));
    let (size, disk) = (BinaryBytes(size).to_string(), BinaryBytes(disk).to_string());
    writeln!(text, "{:<20} {size:>10} {disk:>10}", "together")?;
    Ok(text)
}
