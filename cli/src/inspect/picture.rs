//! The map as a picture: a bar for each segment, and where the positions of the log lie in it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use duralog::inspect::{SegmentInfo, SegmentState, Summary};
use svg::Document;
use svg::node::element::{Line, Rectangle, Text, Title};

use crate::map::{HEADER, Map, PARTS, What};
use crate::records::shown;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 330.0;
const BAR: f64 = WIDTH - LEFT - 24.0;
const TOP: f64 = 96.0;
const ROW: f64 = 38.0;
const HEIGHT: f64 = 18.0;

const INK: &str = "#222222";
const QUIET: &str = "#777777";
const SEALED: &str = "#4C78A8";
const IN_USE: &str = "#54A24B";
const FREE: &str = "#ECECEC";
const TORN: &str = "#F2A93B";
const DAMAGED: &str = "#D62728";
const MARK: &str = "#1B3A57";

pub(super) fn draw(dir: &Path, summary: &Summary, maps: &BTreeMap<u64, Map>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    let height = TOP + ROW * summary.segments.len() as f64 + 16.0;
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
    let mut top = TOP;
    for segment in &summary.segments {
        picture = row(picture, segment, maps.get(&segment.id), summary, top);
        top += ROW;
    }
    picture.to_string()
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
    let SegmentInfo { file, state, base, size, end, .. } = segment;
    let range = match end {
        Some(end) => format!("LSN {base} to {end}, {state}"),
        None => format!("from LSN {base}, {state}"),
    };
    picture = picture
        .add(words(16.0, top + 8.0, 12, INK, file))
        .add(words(16.0, top + 22.0, 10, QUIET, &range))
        .add(rectangle(LEFT, top, BAR, HEIGHT, FREE));
    let whole = size.saturating_sub(HEADER);
    let place = |offset: u64| LEFT + share(offset.saturating_sub(HEADER), whole) * BAR;
    let mut runs: Vec<_> = map.iter().flat_map(|map| &map.runs).collect();
    // What is worst lies on top, and can be seen however small it is.
    runs.sort_by_key(|(_, what)| *what);
    for (offsets, what) in runs {
        let color = match what {
            What::Free => continue,
            What::Used if *state == SegmentState::Sealed => SEALED,
            What::Used => IN_USE,
            What::Torn => TORN,
            What::Damaged => DAMAGED,
        };
        let (from, to) = (place(offsets.start), place(offsets.end));
        let width = (to - from).max(if *what == What::Used { 0.5 } else { 3.0 });
        let title = format!("{what:?}: offsets {} to {}", offsets.start, offsets.end);
        picture = picture.add(rectangle(from, top, width, HEIGHT, color).add(Title::new(title)));
    }
    for (at, _) in map.iter().flat_map(|map| map.marks.iter().enumerate()).filter(|(_, m)| **m) {
        let from = LEFT + share(at as u64, PARTS as u64) * BAR;
        picture = picture.add(rectangle(from, top + HEIGHT - 5.0, 0.7, 5.0, MARK));
    }
    for (name, lsn) in [("checkpoint", summary.checkpoint), ("durable", summary.durable)] {
        let offset = lsn.get().wrapping_sub(base.get());
        if (HEADER..=*size).contains(&offset) {
            let at = place(offset);
            let line = Line::new().set("x1", at).set("x2", at).set("stroke", INK);
            let line = line.set("y1", top - 3.0).set("y2", top + HEIGHT + 3.0);
            let anchor = if at > WIDTH - 100.0 { "end" } else { "start" };
            let label = words(at, top + HEIGHT + 12.0, 9, INK, name).set("text-anchor", anchor);
            picture = picture.add(line).add(label);
        }
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
