//! `duralog inspect`: positions and segments, as the manifest names them.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use duralog::inspect::{Inspector, SegmentInfo, Summary};
use serde::Serialize;

use crate::out;

/// Show the positions of the log and its segments. Needs no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog inspect my-log --json")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// As JSON: positions and sizes as numbers, the salt as hexadecimal digits
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    let shown = Shown::from(log.summary());
    if args.json { out::print_json(&shown) } else { out::print(&table(&shown)?) }
}

/// What is shown: the keys of the JSON.
#[derive(Serialize)]
struct Shown<'a> {
    log_id: &'a str,
    generation: u64,
    head: u64,
    checkpoint: u64,
    durable: u64,
    clean_end: Option<u64>,
    segments: Vec<Segment<'a>>,
}

#[derive(Serialize)]
struct Segment<'a> {
    file: &'a str,
    state: String,
    salt: String,
    base: u64,
    end: Option<u64>,
    size: u64,
}

impl<'a> From<&'a Summary> for Shown<'a> {
    fn from(summary: &'a Summary) -> Self {
        Shown {
            log_id: &summary.log_id,
            generation: summary.generation,
            head: summary.head.get(),
            checkpoint: summary.checkpoint.get(),
            durable: summary.durable.get(),
            clean_end: summary.clean_end.map(duralog::Lsn::get),
            segments: summary.segments.iter().map(Segment::from).collect(),
        }
    }
}

impl<'a> From<&'a SegmentInfo> for Segment<'a> {
    fn from(info: &'a SegmentInfo) -> Self {
        Segment {
            file: &info.file,
            state: info.state.to_string(),
            salt: format!("{:016x}", info.salt),
            base: info.base.get(),
            end: info.end.map(duralog::Lsn::get),
            size: info.size,
        }
    }
}

fn table(shown: &Shown<'_>) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "log id      {}", shown.log_id)?;
    writeln!(text, "generation  {}", shown.generation)?;
    writeln!(text, "head        {}", shown.head)?;
    writeln!(text, "checkpoint  {}", shown.checkpoint)?;
    writeln!(text, "durable     {}", shown.durable)?;
    let clean_end = or_none(shown.clean_end, "none: open, or not closed cleanly");
    writeln!(text, "clean end   {clean_end}")?;
    let (file, state, salt, base, end, size) = ("segment", "state", "salt", "base", "end", "size");
    writeln!(text, "\n{file:<20}  {state:<6}  {salt:<16}  {base:>15}  {end:>15}  {size:>10}")?;
    for Segment { file, state, salt, base, end, size } in &shown.segments {
        let end = or_none(*end, "-");
        writeln!(text, "{file:<20}  {state:<6}  {salt:<16}  {base:>15}  {end:>15}  {size:>10}")?;
    }
    Ok(text)
}

fn or_none(lsn: Option<u64>, none: &str) -> String {
    lsn.map_or_else(|| none.to_owned(), |lsn| lsn.to_string())
}
