//! The picture of the report: bars from zero on a linear axis, one panel for each cell of note.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::cell::{Cell, Work};
use crate::peer::Outcome;
use crate::table::{DURALOG, FLOOR, Results, figure};

const SIZE: (u32, u32) = (1000, 700);
const ACCENT: RGBColor = RGBColor(0xE4, 0x57, 0x2E);
const GREY: RGBColor = RGBColor(0xA0, 0xA0, 0xA0);
const PEERS: RGBColor = RGBColor(0x4C, 0x78, 0xA8);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);

const PANELS: [(&str, Work, usize); 5] = [
    ("durable, 1 thread", Work::Durable, 1),
    ("durable, 8 threads", Work::Durable, 8),
    ("durable, 64 threads", Work::Durable, 64),
    ("buffered, 1 thread", Work::Buffered, 1),
    ("replay", Work::Replay, 1),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn text(size: u32, at: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(at, VPos::Center))
}

pub fn draw(results: &Results, path: &Path) -> Outcome<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (title, rest) = root.split_vertically(44);
    let style = text(20, HPos::Center);
    title.draw_text(
        "Records of 100 bytes a second: longer is better",
        &style,
        (SIZE.0 as i32 / 2, 24),
    )?;
    let areas = rest.split_evenly((2, 3));
    for (area, panel) in areas.iter().zip(PANELS) {
        draw_panel(results, &area.margin(4, 8, 8, 8), panel)?;
    }
    legend(&areas[PANELS.len()])?;
    root.present()?;
    Ok(())
}

fn draw_panel(
    results: &Results,
    area: &Area,
    (title, work, threads): (&str, Work, usize),
) -> Outcome<()> {
    let cell = Cell { work, threads, size: 100 };
    // Who does not sync does not do what the durable panels are about: no bar, as it would dwarf the others.
    let shown = |name: &str| work != Work::Durable || results.syncs(name);
    let mut bars: Vec<(&str, Option<f64>)> = results
        .names
        .iter()
        .map(|name| {
            (&**name, results.get(cell, name).filter(|_| shown(name)).map(|run| run.figure))
        })
        .collect();
    bars.sort_by(|(_, a), (_, b)| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0)));
    let most = bars.first().and_then(|(_, figure)| *figure).unwrap_or(1.0);

    let (width, height) = area.dim_in_pixel();
    let (left, right) = (96, width as i32 - 50);
    area.draw_text(title, &text(15, HPos::Left), (left, 10))?;
    let step = ((height as i32 - 26) / bars.len().max(1) as i32).min(30);
    for (i, (name, value)) in bars.iter().enumerate() {
        let middle = 26 + step * i as i32 + step / 2;
        let color = match *name {
            DURALOG => ACCENT,
            FLOOR => GREY,
            _ => PEERS,
        };
        area.draw_text(&results.label(name), &text(12, HPos::Right), (left - 6, middle))?;
        let (end, said) = match (results.get(cell, name), value) {
            (Some(run), Some(value)) => {
                let end = left + (f64::from(right - left) * value / most) as i32;
                (end, figure(cell, run))
            }
            (Some(_), None) => (left, "does not sync".into()),
            _ => (left, "no figure".into()),
        };
        let corners = [(left, middle - step * 2 / 5), (end, middle + step * 2 / 5)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        area.draw_text(&said, &text(12, HPos::Left), (end + 4, middle))?;
    }
    let bottom = 26 + step * bars.len() as i32;
    area.draw(&PathElement::new([(left, 24), (left, bottom)], INK))?;
    Ok(())
}

fn legend(area: &Area) -> Outcome<()> {
    let lines = [
        (Some(ACCENT), "duralog"),
        (Some(GREY), "floor: a file filled ahead, pwrite, fdatasync"),
        (Some(PEERS), "peers"),
        (None, "* does not sync before it says so"),
    ];
    for (i, (color, said)) in lines.into_iter().enumerate() {
        let middle = 60 + 26 * i as i32;
        if let Some(color) = color {
            area.draw(&Rectangle::new([(20, middle - 7), (34, middle + 7)], color.filled()))?;
        }
        area.draw_text(said, &text(12, HPos::Left), (42, middle))?;
    }
    Ok(())
}
