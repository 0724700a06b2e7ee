//! `duralog dump`: every frame, for who looks for what is in the files.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use duralog::Lsn;
use duralog::inspect::{Frame, FrameKind, Frames, Hole, HoleKind, Piece, SegmentPiece};
use serde_json::json;

use crate::out;
use crate::records::shown;

/// Print each frame of the files, and what lies between.
///
/// Marks and notes too. Needs no lock and changes nothing. Goes around damage, and needs no manifest. Columns: offset in the file, LSN, bytes of the frame, checksum, what it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog dump my-log --segment 0000000000000001.seg --number 20")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Only this segment: its number, or the name of its file
    #[arg(long, value_name = "SEGMENT", value_parser = segment)]
    segment: Option<u64>,
    /// Nothing that ends at this LSN or below
    #[arg(long, value_name = "LSN")]
    from: Option<Lsn>,
    /// At most so many frames
    #[arg(short, long, value_name = "COUNT")]
    number: Option<u64>,
    /// A JSON object a line, payloads as hexadecimal digits
    #[arg(long)]
    json: bool,
}

/// Characters of a payload that are shown.
const SHOWN: usize = 24;

/// Files are named by their number, in hexadecimal digits.
fn segment(text: &str) -> Result<u64, String> {
    let wanted = || "a number, or a file's name such as 0000000000000001.seg".to_owned();
    let parsed = match text.strip_suffix(".seg") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| wanted())
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut frames = Frames::open(&args.dir)?;
    if let Some(id) = args.segment {
        let Some(of_segment) = frames.of_segment(id) else { bail!("there is no segment {id}") };
        frames = of_segment;
    }
    if let Some(from) = args.from {
        frames = frames.from(from);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    match print(args, &mut frames, &mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(out::no_output(e)),
        _ => Ok(()),
    }
}

fn print(args: &Args, frames: &mut Frames, out: &mut impl Write) -> io::Result<()> {
    let mut left = args.number.unwrap_or(u64::MAX);
    while let Some(piece) = frames.next() {
        if matches!(piece, Piece::Frame(_)) {
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => break,
            }
        }
        let payload = frames.payload();
        if args.json {
            writeln!(out, "{}", as_json(&piece, payload))?;
        } else {
            as_text(&piece, &payload.unwrap_or_default(), out)?;
        }
    }
    Ok(())
}

fn as_text(piece: &Piece, payload: &[u8], out: &mut impl Write) -> io::Result<()> {
    match piece {
        Piece::Segment(SegmentPiece { file, id, base, size, salt, end, in_log, .. }) => {
            let known = if *in_log { "" } else { ", not in the log" };
            let end = end.map_or_else(|| "not recorded".to_owned(), |end| end.to_string());
            writeln!(out, "{file}: number {id}, {size} bytes{known}")?;
            writeln!(out, "  base {base}, end {end}, salt {salt:016x}")
        }
        Piece::Frame(Frame { offset, lsn, len, checksum, kind, .. }) => {
            write!(out, "{offset:>10} {lsn:>15} {len:>9}  {checksum:08x}  ")?;
            let text = || shown(payload, SHOWN);
            match kind {
                FrameKind::Record(_) => writeln!(out, "record {}", text()),
                FrameKind::Part(_) => writeln!(out, "part   {}", text()),
                FrameKind::Mark(durable) => writeln!(out, "mark   durable {durable}"),
                FrameKind::End(next) => writeln!(out, "end    next is segment {next}"),
                FrameKind::Note(says) => writeln!(out, "note   {}", shown(says.as_bytes(), 80)),
                _ => writeln!(out, "unknown"),
            }
        }
        Piece::Hole(Hole { offsets, lsns, kind, what, .. }) => {
            let len = offsets.end - offsets.start;
            let (offset, lsn) = (offsets.start, lsns.start);
            writeln!(out, "{offset:>10} {lsn:>15} {len:>9}  {:<8}  {what}", word(*kind))
        }
        _ => Ok(()),
    }
}

fn word(kind: HoleKind) -> &'static str {
    match kind {
        HoleKind::Free => "free",
        HoleKind::Torn => "torn",
        HoleKind::Damaged => "damaged",
        _ => "unknown",
    }
}

fn as_json(piece: &Piece, payload: Option<Vec<u8>>) -> serde_json::Value {
    match piece {
        Piece::Segment(SegmentPiece { file, id, base, size, salt, end, in_log, .. }) => json!({
            "piece": "segment", "file": file, "id": id, "base": base.get(), "size": size,
            "salt": format!("{salt:016x}"), "end": end.map(Lsn::get), "in_log": in_log,
        }),
        Piece::Frame(Frame { offset, lsn, len, checksum, kind, .. }) => {
            let mut frame = json!({
                "piece": "frame", "offset": offset, "lsn": lsn.get(), "len": len,
                "checksum": format!("{checksum:08x}"),
            });
            let mut put = |key: &str, value: serde_json::Value| {
                frame.as_object_mut().map(|frame| frame.insert(key.to_owned(), value))
            };
            let (word, more) = match kind {
                FrameKind::Record(_) => ("record", None),
                FrameKind::Part(_) => ("part", None),
                FrameKind::Mark(durable) => ("mark", Some(("durable", json!(durable.get())))),
                FrameKind::End(next) => ("end", Some(("next", json!(next)))),
                FrameKind::Note(says) => ("note", Some(("says", json!(says)))),
                _ => ("unknown", None),
            };
            put("kind", json!(word));
            if let Some((key, value)) = more {
                put(key, value);
            }
            let hex =
                payload.map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
            put("payload", json!(hex.unwrap_or_default()));
            frame
        }
        Piece::Hole(Hole { offsets, lsns, kind, what, .. }) => json!({
            "piece": word(*kind), "offset": offsets.start, "lsn": lsns.start.get(),
            "len": offsets.end - offsets.start, "what": what,
        }),
        _ => json!({}),
    }
}
