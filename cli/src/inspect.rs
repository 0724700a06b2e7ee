//! `duralog inspect`: positions and segments, as the manifest names them, and a map of what they hold.

mod picture;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use duralog::inspect::{Inspector, SegmentInfo, SegmentState, Summary};
use serde::Serialize;

use crate::map::{HEADER, Map, What, maps};
use crate::target::Target;
use crate::{out, owner};

/// Show positions and segments, and a map of them.
///
/// Needs no lock and changes nothing. The map of a sealed segment is what the manifest says of it, that of another is read from its file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog inspect my-log --deep --svg map.svg")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Read sealed segments too: their marks, and damage
    #[arg(long)]
    deep: bool,
    /// Draw the map into this file, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// As JSON: positions and sizes as numbers, the salt as hexadecimal digits
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    let summary = log.summary();
    let maps = maps(&args.dir, summary, args.deep)?;
    if let Some(file) = &args.svg {
        let mut target = Target::picture(file)?;
        let picture = picture::draw(&args.dir, summary, &maps);
        target.write_all(picture.as_bytes()).with_context(|| file.display().to_string())?;
        target.finish()?;
    }
    let shown = Shown::new(summary, &maps, owner::of(&args.dir));
    if args.json { out::print_json(&shown) } else { out::print(&text(&shown, summary, &maps)?) }
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
    /// Of the process that has it open, as far as the system tells.
    writer: Option<u32>,
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
    /// Bytes, by the map.
    used: u64,
    /// Of a segment that was read, or whose file is not as it must be.
    torn: Option<u64>,
    damaged: Option<u64>,
    records: Option<u64>,
    marks: Option<u64>,
}

impl<'a> Shown<'a> {
    fn new(summary: &'a Summary, maps: &BTreeMap<u64, Map>, writer: Option<u32>) -> Shown<'a> {
        Shown {
            log_id: &summary.log_id,
            generation: summary.generation,
            head: summary.head.get(),
            checkpoint: summary.checkpoint.get(),
            durable: summary.durable.get(),
            clean_end: summary.clean_end.map(duralog::Lsn::get),
            writer,
            segments: summary.segments.iter().map(|s| Segment::new(s, maps.get(&s.id))).collect(),
        }
    }
}

impl<'a> Segment<'a> {
    fn new(info: &'a SegmentInfo, map: Option<&Map>) -> Self {
        let read = map.filter(|map| map.read);
        Segment {
            file: &info.file,
            state: info.state.to_string(),
            salt: format!("{:016x}", info.salt),
            base: info.base.get(),
            end: info.end.map(duralog::Lsn::get),
            size: info.size,
            used: map.map_or(0, |map| map.bytes_of(What::Used)),
            torn: read.map(|map| map.bytes_of(What::Torn)),
            // A file that is missing, or of another length, need not be read.
            damaged: map
                .map(|map| map.bytes_of(What::Damaged))
                .filter(|n| *n > 0 || read.is_some()),
            records: read.map(|map| map.records),
            marks: read.map(|map| map.mark_count),
        }
    }
}

fn text(
    shown: &Shown<'_>,
    summary: &Summary,
    maps: &BTreeMap<u64, Map>,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "log id      {}", shown.log_id)?;
    writeln!(text, "generation  {}", shown.generation)?;
    writeln!(text, "head        {}", shown.head)?;
    writeln!(text, "checkpoint  {}", shown.checkpoint)?;
    writeln!(text, "durable     {}", shown.durable)?;
    let none = shown.writer.map_or_else(
        || "none: open, or not closed cleanly".to_owned(),
        |pid| format!("none: open in process {pid}"),
    );
    writeln!(text, "clean end   {}", or_none(shown.clean_end, &none))?;
    let (file, state, base, end, size) = ("segment", "state", "base", "end", "size");
    writeln!(text, "\n{file:<20} {state:<6} {base:>19} {end:>19} {size:>10}")?;
    let Plan { squares, bars } = Plan::of(summary, maps);
    // What is told of by the map is told of by its LSNs too; the rest is in --json.
    let has_bar = |segment: &&Segment<'_>| bars.iter().any(|bar| bar.file == segment.file);
    for Segment { file, state, base, end, size, .. } in shown.segments.iter().filter(has_bar) {
        let end = or_none(*end, "-");
        writeln!(text, "{file:<20} {state:<6} {base:>19} {end:>19} {size:>10}")?;
    }
    writeln!(text, "\nmap")?;
    let mut seen = Vec::new();
    for line in squares.chunks(WIDTH) {
        let Some(first) = line.first() else { continue };
        let worst = |s: &&SegmentInfo| maps.get(&s.id).map_or(What::Free, Map::worst);
        let letters: String = line.iter().map(|s| letter((worst(s), false), s.state)).collect();
        seen.extend(letters.chars());
        writeln!(text, "{:<20} {:<6} {letters}", first.file, "on")?;
    }
    if !squares.is_empty() {
        writeln!(text, "{:<28}{} sealed segments, a letter each\n", "", squares.len())?;
    }
    for segment in bars {
        let Some(map) = maps.get(&segment.id) else { continue };
        let cells = map.cells(segment.size, WIDTH);
        let letters: String = cells.iter().map(|cell| letter(*cell, segment.state)).collect();
        seen.extend(letters.chars());
        writeln!(text, "{:<20} {:<6} {letters}", segment.file, segment.state)?;
    }
    let legend = LEGEND.iter().filter(|(letter, _)| seen.contains(letter));
    let legend: Vec<_> = legend.map(|(letter, what)| format!("{letter} {what}")).collect();
    writeln!(text, "{:<28}{}", "", legend.join("  "))?;
    Ok(text)
}

/// More segments than that, and a map of bars alone would be too tall to look at.
const MANY: usize = 64;

/// Which segments are drawn how, each in the order of the log.
struct Plan<'a> {
    /// Of very many, those that are sealed: in one place each, full or hurt.
    squares: Vec<&'a SegmentInfo>,
    /// From end to end: all, or those in which something is to be seen.
    bars: Vec<&'a SegmentInfo>,
}

impl<'a> Plan<'a> {
    fn of(summary: &'a Summary, maps: &BTreeMap<u64, Map>) -> Plan<'a> {
        let many = summary.segments.len() > MANY;
        let is_square = |s: &&SegmentInfo| many && s.state == SegmentState::Sealed;
        let is_hurt = |s: &&SegmentInfo| maps.get(&s.id).is_some_and(|m| m.worst() > What::Used);
        let has_position = |s: &&SegmentInfo| positions_in(s, summary).next().is_some();
        Plan {
            squares: summary.segments.iter().filter(is_square).collect(),
            bars: summary
                .segments
                .iter()
                .filter(|s| !is_square(s) || is_hurt(s) || has_position(s))
                .collect(),
        }
    }
}

/// The offsets of the positions of the log that lie in this segment.
fn positions_in<'a>(
    SegmentInfo { base, size, .. }: &'a SegmentInfo,
    summary: &Summary,
) -> impl Iterator<Item = (&'static str, u64)> + use<'a> {
    let positions = [("checkpoint", summary.checkpoint), ("durable", summary.durable)];
    let offsets = positions.map(|(name, lsn)| (name, lsn.get().wrapping_sub(base.get())));
    offsets.into_iter().filter(|(_, offset)| (HEADER..=*size).contains(offset))
}

/// So that a line has 80 columns.
const WIDTH: usize = 52;

const LEGEND: [(char, &str); 6] = [
    ('█', "sealed"),
    ('▓', "in use"),
    ('▒', "with marks"),
    ('·', "free"),
    ('~', "torn"),
    ('!', "damaged"),
];

fn letter((what, marked): (What, bool), state: SegmentState) -> char {
    match what {
        What::Damaged => '!',
        What::Torn => '~',
        What::Used if marked => '▒',
        What::Used if state == SegmentState::Sealed => '█',
        What::Used => '▓',
        What::Free => '·',
    }
}

fn or_none(lsn: Option<u64>, none: &str) -> String {
    lsn.map_or_else(|| none.to_owned(), |lsn| lsn.to_string())
}
