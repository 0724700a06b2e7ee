//! The map as a picture: a bar for each segment, and where the positions of the log lie in it. Of very many, each that is
//! sealed has a square, and a bar only if there is something to be seen in it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use duralog::inspect::{SegmentInfo, SegmentState, Summary};
use svg::Document;
use svg::node::element::{Line, Rectangle, Text, Title};

use super::{Plan, positions_in};
use crate::map::{HEADER, Map, PARTS, What};
use crate::records::shown;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 330.0;
const BAR: f64 = WIDTH - LEFT - 24.0;
const TOP: f64 = 96.0;
const ROW: f64 = 38.0;
const HEIGHT: f64 = 18.0;
const SQUARE: f64 = 11.0;
/// From one square to the next.
const STEP: f64 = 13.0;
const ACROSS: usize = 74;

const INK: &str = "#222222";
const QUIET: &str = "#777777";
const SEALED: &str = "#4C78A8";
const IN_USE: &str = "#54A24B";
const FREE: &str = "#ECECEC";
const TORN: &str = "#F2A93B";
const DAMAGED: &str = "#D62728";
const MARK: &str = "#1B3A57";

pub(super) fn draw(dir: &Path, summary: &Summary, maps: &BTreeMap<u64, Map>) -> String {
    let Plan { squares, bars } = Plan::of(summary, maps);
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    let (lines, rows) = (squares.len().div_ceil(ACROSS) as f64, bars.len() as f64);
    let first_row = TOP + if squares.is_empty() { 0.0 } else { 34.0 + STEP * lines };
    let height = first_row + ROW * rows + 16.0;
    let mut picture = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("font-family", "sans-serif")
        .add(rectangle(0.0, 0.0, WIDTH, height, "#FFFFFF"))
        .add(words(16.0, 30.0, 17, INK, &shown(dir.as_os_str().as_bytes(), 90)))
        .add(words(16.0, 52.0, 12, QUIET, &positions(summary)));
    for (at, (color, what)) in [16.0, 150.0, 290.0, 390.0, 490.0, 600.0].into_iter().zip([
        (SEALED, "sealed, in use"),
        (IN_USE, "not sealed, in use"),
        (FREE, "free"),
        (TORN, "torn"),
        (DAMAGED, "damaged"),
        (MARK, "durable marks"),
    ]) {
        picture = picture.add(rectangle(at, 66.0, 11.0, 11.0, color)).add(words(
            at + 16.0,
            76.0,
            12,
            INK,
            what,
        ));
    }
    if !squares.is_empty() {
        picture = grid(picture, &squares, maps);
    }
    let mut top = first_row;
    for segment in bars {
        picture = row(picture, segment, maps.get(&segment.id), summary, top);
        top += ROW;
    }
    picture.to_string()
}

/// A square for each segment, filled as far as it is used; line by line, in the order of the log.
fn grid(mut picture: Document, segments: &[&SegmentInfo], maps: &BTreeMap<u64, Map>) -> Document {
    let head = format!("{} sealed segments, a square each", segments.len());
    picture = picture.add(words(16.0, TOP + 8.0, 12, INK, &head));
    for (at, segment) in segments.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "pixels")]
        let (column, line) = ((at % ACROSS) as f64, (at / ACROSS) as f64);
        let (x, y) = (16.0 + STEP * column, TOP + 18.0 + STEP * line);
        let Some(map) = maps.get(&segment.id) else { continue };
        let worst = map.worst();
        let filled = match worst {
            What::Torn | What::Damaged => SQUARE,
            _ => share(map.bytes_of(What::Used), segment.size.saturating_sub(HEADER)) * SQUARE,
        };
        let title = format!("{}: {}", segment.file, lsns(segment));
        let title = || Title::new(title.as_str());
        picture = picture.add(rectangle(x, y, SQUARE, SQUARE, FREE).add(title()));
        let bar = rectangle(x, y + SQUARE - filled, SQUARE, filled, color(worst, segment.state));
        picture = picture.add(bar.add(title()));
    }
    picture
}

fn color(what: What, state: SegmentState) -> &'static str {
    match what {
        What::Free => FREE,
        What::Used if state == SegmentState::Sealed => SEALED,
        What::Used => IN_USE,
        What::Torn => TORN,
        What::Damaged => DAMAGED,
    }
}

fn lsns(SegmentInfo { base, end, state, .. }: &SegmentInfo) -> String {
    match end {
        Some(end) => format!("LSN {base} to {end}, {state}"),
        None => format!("from LSN {base}, {state}"),
    }
}

fn positions(summary: &Summary) -> String {
    let Summary { head, checkpoint, durable, clean_end, .. } = summary;
    let end = clean_end.map_or_else(|| "not closed".to_owned(), |end| format!("closed at {end}"));
    format!("head {head} · checkpoint {checkpoint} · durable {durable} · {end}")
}

fn row(
    mut picture: Document,
    segment: &SegmentInfo,
    map: Option<&Map>,
    summary: &Summary,
    top: f64,
) -> Document {
    let SegmentInfo { file, state, size, .. } = segment;
    picture = picture
        .add(words(16.0, top + 8.0, 12, INK, file))
        .add(words(16.0, top + 22.0, 10, QUIET, &lsns(segment)))
        .add(rectangle(LEFT, top, BAR, HEIGHT, FREE));
    let whole = size.saturating_sub(HEADER);
    let place = |offset: u64| LEFT + share(offset.saturating_sub(HEADER), whole) * BAR;
    let mut runs: Vec<_> = map.iter().flat_map(|map| &map.runs).collect();
    // What is worst lies on top, and can be seen however small it is.
    runs.sort_by_key(|(_, what)| *what);
    for (offsets, what) in runs {
        if *what == What::Free {
            continue;
        }
        let color = color(*what, *state);
        let (from, to) = (place(offsets.start), place(offsets.end));
        let width = (to - from).max(if *what == What::Used { 0.5 } else { 3.0 });
        let title = format!("{what:?}: offsets {} to {}", offsets.start, offsets.end);
        picture = picture.add(rectangle(from, top, width, HEIGHT, color).add(Title::new(title)));
    }
    for (at, _) in map.iter().flat_map(|map| map.marks.iter().enumerate()).filter(|(_, m)| **m) {
        let from = LEFT + share(at as u64, PARTS as u64) * BAR;
        picture = picture.add(rectangle(from, top + HEIGHT - 5.0, 0.7, 5.0, MARK));
    }
    for (name, offset) in positions_in(segment, summary) {
        let at = place(offset);
        let line = Line::new().set("x1", at).set("x2", at).set("stroke", INK);
        let line = line.set("y1", top - 3.0).set("y2", top + HEIGHT + 3.0);
        let anchor = if at > WIDTH - 100.0 { "end" } else { "start" };
        let label = words(at, top + HEIGHT + 12.0, 9, INK, name).set("text-anchor", anchor);
        picture = picture.add(line).add(label);
    }
    picture
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, color: &str) -> Rectangle {
    let rectangle = Rectangle::new().set("x", x).set("y", y).set("fill", color);
    rectangle.set("width", width).set("height", height)
}

fn words(x: f64, y: f64, size: u32, color: &str, words: &str) -> Text {
    Text::new(words).set("x", x).set("y", y).set("font-size", size).set("fill", color)
}
