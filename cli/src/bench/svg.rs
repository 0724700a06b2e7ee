//! The report as a picture: a row for each size, rates on the left, latencies on the right.

use std::io::Write;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::bars::decade;
use super::figures::{Commits, Report};
use super::words::{count, size, threads, time, times, whole};
use crate::target::Target;

const WIDTH: i32 = 1000;
const HEAD: i32 = 92;
/// Rates are drawn left of here, latencies right.
const MIDDLE: i32 = 500;
const BAR: i32 = 34;
/// Of a row, without its bars or curves.
const FRAME: i32 = 64;
const LEAST_CURVES: i32 = 190;
/// Two lines of text.
const LEADING: i32 = 15;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const GREY: RGBColor = RGBColor(0x8A, 0x8A, 0x8A);
/// More threads, darker.
const FEW: (f64, f64, f64) = (132.0, 178.0, 219.0);
const MANY: (f64, f64, f64) = (20.0, 52.0, 92.0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One thing to draw in a row.
struct Drawn<'a> {
    name: String,
    color: RGBColor,
    cell: &'a Commits,
}

pub(crate) fn write(report: &Report, mut picture: Target) -> Result<()> {
    picture.write_all(render(report)?.as_bytes()).context("the picture")?;
    picture.finish()
}

fn render(report: &Report) -> Result<String> {
    let rows: Vec<Vec<Drawn<'_>>> =
        report.figures.bare_loop.iter().map(|bare| row(report, bare)).collect();
    let height = HEAD + rows.iter().map(|row| row_height(row.len())).sum::<i32>();
    let mut text = String::new();
    {
        let extent = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut text, extent).into_drawing_area();
        draw(report, &rows, &area).map_err(|e| anyhow!("the picture: {e}"))?;
    }
    Ok(text)
}

fn row<'a>(report: &'a Report, bare: &'a Commits) -> Vec<Drawn<'a>> {
    let mut row = vec![Drawn { name: "bare loop".into(), color: GREY, cell: bare }];
    let cells: Vec<&Commits> = report.durable_of(bare.record_bytes).collect();
    let last = cells.len().saturating_sub(1).max(1);
    row.extend(cells.iter().enumerate().map(|(i, cell)| Drawn {
        name: threads(cell.threads),
        color: shade(i, last),
        cell,
    }));
    row
}

fn shade(i: usize, last: usize) -> RGBColor {
    let part =
        f64::from(u32::try_from(i).unwrap_or(0)) / f64::from(u32::try_from(last).unwrap_or(1));
    let mix = |few: f64, many: f64| u8::try_from(whole(few + (many - few) * part)).unwrap_or(0);
    RGBColor(mix(FEW.0, MANY.0), mix(FEW.1, MANY.1), mix(FEW.2, MANY.2))
}

fn row_height(drawn: usize) -> i32 {
    FRAME + (BAR * int(drawn)).max(LEAST_CURVES).max(LEADING * (int(drawn) + 1))
}

fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// A pixel.
fn px(value: f64) -> i32 {
    i32::try_from(whole(value.max(0.0))).unwrap_or(i32::MAX)
}

fn text(points: u32, color: RGBColor, at: HPos) -> TextStyle<'static> {
    ("sans-serif", points).into_font().color(&color).pos(Pos::new(at, VPos::Center))
}

type Failed = Box<dyn std::error::Error>;

fn draw(report: &Report, rows: &[Vec<Drawn<'_>>], area: &Area<'_>) -> Result<(), Failed> {
    area.fill(&WHITE)?;
    let machine = &report.machine;
    let title = "Durable appends: how many a second, and how long each takes";
    area.draw_text(title, &text(20, INK, HPos::Left), (24, 24))?;
    let where_ = format!(
        "{}, {}, Linux {}, {} CPUs; {}",
        machine.directory,
        machine.file_system,
        machine.kernel,
        machine.cpus,
        report.methods()
    );
    area.draw_text(&where_, &text(12, GREY, HPos::Left), (24, 46))?;
    let key =
        "bare loop: one thread, a write and fdatasync, the ceiling of the disk for one thread";
    area.draw_text(key, &text(12, GREY, HPos::Left), (24, 64))?;
    let cells = || rows.iter().flatten().map(|drawn| drawn.cell);
    let least_us = cells().map(|cell| cell.latency_p50_us).fold(f64::INFINITY, f64::min);
    let most_us = cells().map(|cell| cell.latency_max_us).fold(1.0, f64::max);
    let decades = (least_us.max(0.1).log10().floor(), most_us.max(0.1).log10().ceil());
    let mut top = HEAD;
    for row in rows {
        let height = row_height(row.len());
        rates(row, area, top)?;
        latencies(row, decades, area, (top, height))?;
        top += height;
    }
    area.present()?;
    Ok(())
}

fn heading(area: &Area<'_>, said: &str, at: (i32, i32)) -> Result<(), Failed> {
    Ok(area.draw_text(said, &text(14, INK, HPos::Left), at)?)
}

/// Bars from zero, and the ceiling as a line.
fn rates(row: &[Drawn<'_>], area: &Area<'_>, top: i32) -> Result<(), Failed> {
    let (left, right, first) = (100, MIDDLE - 120, top + 28);
    let Some(bare) = row.first() else { return Ok(()) };
    heading(area, &format!("{}: records a second", size(bare.cell.record_bytes)), (24, top + 8))?;
    let most = row.iter().map(|drawn| drawn.cell.commits_per_second).fold(1.0, f64::max);
    let x = |value: f64| left + px(f64::from(right - left) * value / most);
    for (i, Drawn { name, color, cell }) in row.iter().enumerate() {
        let middle = first + BAR * int(i) + BAR / 2;
        let (value, ratio) = (cell.commits_per_second, cell.ratio_to_bare_loop);
        area.draw_text(name, &text(12, INK, HPos::Right), (left - 8, middle))?;
        let corners = [(left, middle - 11), (x(value), middle + 11)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        let said =
            if i == 0 { count(value) } else { format!("{} ({} x)", count(value), times(ratio)) };
        area.draw_text(&said, &text(12, INK, HPos::Left), (x(value) + 8, middle))?;
    }
    let bottom = first + BAR * int(row.len());
    let ceiling = x(bare.cell.commits_per_second);
    // Dashes in the gaps of the bars, so that no figure is crossed out.
    for i in 0..=int(row.len()) {
        let gap = first + BAR * i;
        area.draw(&PathElement::new(
            [(ceiling, gap - 5), (ceiling, gap + 5)],
            GREY.stroke_width(2),
        ))?;
    }
    area.draw(&PathElement::new([(left, first), (left, bottom)], INK))?;
    Ok(())
}

/// A curve over the percentiles for each number of threads, the axis logarithmic.
fn latencies(
    row: &[Drawn<'_>],
    (from, to): (f64, f64),
    area: &Area<'_>,
    (top, height): (i32, i32),
) -> Result<(), Failed> {
    let (left, right) = (MIDDLE + 64, WIDTH - 160);
    let (first, bottom) = (top + 30, top + height - 40);
    let Some(bare) = row.first() else { return Ok(()) };
    let said = format!("{}: latency of a commit", size(bare.cell.record_bytes));
    heading(area, &said, (MIDDLE + 10, top + 8))?;
    let y = |us: f64| {
        let part = (us.max(0.1).log10() - from) / (to - from).max(1.0);
        bottom - px(f64::from(bottom - first) * part)
    };
    let mut exponent = from;
    while exponent <= to {
        let us = 10f64.powf(exponent);
        area.draw(&PathElement::new([(left, y(us)), (right, y(us))], FAINT))?;
        area.draw_text(&decade(us), &text(11, GREY, HPos::Right), (left - 6, y(us)))?;
        exponent += 1.0;
    }
    let x = |i: usize| left + 16 + (right - left - 32) * int(i) / 3;
    for (i, name) in ["p50", "p99", "p99.9", "max"].into_iter().enumerate() {
        area.draw_text(name, &text(11, GREY, HPos::Center), (x(i), bottom + 14))?;
    }
    for Drawn { color, cell, .. } in row {
        let points = values(cell).map(y);
        let points: Vec<(i32, i32)> =
            points.into_iter().enumerate().map(|(i, y)| (x(i), y)).collect();
        area.draw(&PathElement::new(points.clone(), color.stroke_width(2)))?;
        for at in points {
            area.draw(&Circle::new(at, 3, color.filled()))?;
        }
    }
    let ends: Vec<i32> = row.iter().map(|drawn| y(drawn.cell.latency_max_us)).collect();
    for (Drawn { name, color, cell }, at) in row.iter().zip(spread(&ends, first, bottom)) {
        let said = format!("{name}, {}", time(cell.latency_max_us));
        area.draw(&PathElement::new([(x(3) + 5, y(cell.latency_max_us)), (right, at)], *color))?;
        area.draw_text(&said, &text(12, INK, HPos::Left), (right + 4, at))?;
    }
    Ok(())
}

fn values(cell: &Commits) -> [f64; 4] {
    [cell.latency_p50_us, cell.latency_p99_us, cell.latency_p999_us, cell.latency_max_us]
}

/// Labels at these heights, moved so far that none lies on another, as near as there is room.
fn spread(wanted: &[i32], first: i32, bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|i| wanted.get(*i).copied());
    let mut found = wanted.to_vec();
    let (mut free, mut below) = (first, int(wanted.len()));
    for i in order {
        below -= 1;
        let Some(at) = found.get_mut(i) else { continue };
        // Leave room for those that follow.
        *at = (*at).min(bottom - below * LEADING).max(free);
        free = *at + LEADING;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    #[test]
    fn no_label_lies_on_another() {
        assert_eq!(spread(&[50, 10, 90], 0, 100), [50, 10, 90]);
        assert_eq!(spread(&[50, 50, 52], 0, 100), [50, 65, 80]);
        assert_eq!(spread(&[100, 99, 98], 0, 100), [100, 85, 70]);
    }

    #[test]
    fn the_picture_has_every_figure() {
        let text = render(&sample()).unwrap();
        for said in ["100 B: records a second", "16 KiB: latency of a commit", "145,600 (26.0 x)"] {
            assert!(text.contains(said), "{said} in\n{text}");
        }
        assert!(text.contains(r#"width="1000""#) && text.ends_with("</svg>\n"));
    }
}
