//! Walking a log whose end is not known, as FORMAT.md, section 6, says: for recovery and inspection.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::ALIGN;
use crate::format::frame::{Kind, MARK_LEN};
use crate::format::header::Identity;
use crate::format::manifest::{Entry, Manifest, State};
use crate::progress::{Gauge, PIECE};
use crate::segment::scan::{Scan, Step, Stop, Window};
use crate::segment::verdict::{Says, Verdict, cut_of, needs_evidence, verdict};
use crate::segment::{file_name, open_checked};
use crate::storage::{Access, Directory, File};

/// What the manifest says of each segment's end.
pub(crate) fn says(manifest: &Manifest, index: usize) -> (Says, Option<u64>) {
    let Some(entry) = manifest.segments.get(index) else { return (Says::Bounded, None) };
    let bound = match (entry.state, manifest.clean_end) {
        (State::Sealed, _) => Some(entry.end),
        (State::Active, clean_end) => clean_end,
        (State::Ready, _) => None,
    };
    match bound {
        Some(end) => (Says::Bounded, Some(end.saturating_sub(entry.base))),
        None => (Says::Open { next: manifest.segments.get(index + 1).map(|next| next.id) }, None),
    }
}

/// Begins the walk of one segment.
pub(crate) fn scan(
    directory: &dyn Directory,
    manifest: &Manifest,
    index: usize,
    access: Access,
) -> Result<Scan> {
    let (_, bound) = says(manifest, index);
    let entry = manifest.segments.get(index).copied().ok_or(Error::Closed)?;
    let identity = entry.identity(manifest.log_id);
    let (_, file) = open_checked(directory, &identity, access)?;
    Ok(scan_of(file, &identity, bound))
}

fn scan_of(file: Arc<dyn File>, identity: &Identity, bound: Option<u64>) -> Scan {
    let window = Window::new(file, identity.size);
    Scan::new(window, identity.seed(), identity.base, identity.size, bound)
}

/// Whether records stand behind `end`, where this segment ends: then it was cut there. Behind the end of one that was rolled stands
/// an end frame; behind one that a recovery ended, nothing that is valid.
///
/// # Errors
///
/// `Corrupt` if the file is not this segment, `Io` if it cannot be read.
pub(crate) fn was_cut(directory: &dyn Directory, identity: &Identity, end: u64) -> Result<bool> {
    let (path, file) = open_checked(directory, identity, Access::Read)?;
    let mut scan = scan_of(file, identity, None);
    scan.begin_small();
    scan.go_to(end.saturating_sub(identity.base));
    loop {
        match scan.step().map_err(|e| Error::io("pread", &path, e))? {
            Step::Frame { head, .. } if matches!(head.kind, Kind::Mark | Kind::Note) => {}
            Step::Frame { .. } => return Ok(true),
            Step::Stopped(_) => return Ok(false),
        }
    }
}

pub(crate) fn path_of(directory: &dyn Directory, entry: &Entry) -> PathBuf {
    directory.path().join(file_name(entry.id))
}

/// The verdict on segment `index`, whose walk `scan` stopped. Damage comes as the error that names it.
pub(crate) fn judge(
    directory: &dyn Directory,
    manifest: &Manifest,
    index: usize,
    scan: &mut Scan,
    stop: &Stop,
    access: Access,
    gauge: &mut Gauge<'_>,
) -> Result<Verdict> {
    let (says, _) = says(manifest, index);
    let entry = manifest.segments.get(index).ok_or(Error::Closed)?;
    let path = path_of(directory, entry);
    let mut vouched_to = manifest.durable;
    if needs_evidence(says, stop) {
        let here = cut_of(stop)..entry.size;
        let here = highest_mark(scan, here, access, &path, |at| gauge.at(index, at))?;
        vouched_to = vouched_to.max(here);
        for (later, entry) in manifest.segments.iter().enumerate().skip(index + 1) {
            let mut scan = self::scan(directory, manifest, later, access)?;
            let path = path_of(directory, entry);
            let (told, whole) = (|at| gauge.at(later, at), 0..entry.size);
            let there = highest_mark(&mut scan, whole, access, &path, told)?;
            vouched_to = vouched_to.max(there);
        }
    }
    judge_by(directory, manifest, index, stop, vouched_to)
}

/// The same for who looks beside a writer, and tells no one how far it is.
pub(crate) fn judge_silently(
    directory: &dyn Directory,
    manifest: &Manifest,
    index: usize,
    scan: &mut Scan,
    stop: &Stop,
) -> Result<Verdict> {
    judge(directory, manifest, index, scan, stop, Access::Read, &mut Gauge::silent())
}

/// The same, with no other evidence than that all below `vouched_to` was durable.
pub(crate) fn judge_by(
    directory: &dyn Directory,
    manifest: &Manifest,
    index: usize,
    stop: &Stop,
    vouched_to: u64,
) -> Result<Verdict> {
    let (says, bound) = says(manifest, index);
    let entry = manifest.segments.get(index).ok_or(Error::Closed)?;
    let verdict = verdict(says, stop, vouched_to > entry.base + cut_of(stop));
    if let Verdict::Damage { at, what } = verdict {
        let from = entry.base + at;
        let until = bound.map_or(vouched_to, |bound| entry.base + bound).max(from);
        let lsns = Lsn::new(from)..Lsn::new(until);
        return Err(Error::corrupt(path_of(directory, entry), Some(entry.id), at, lsns, what));
    }
    Ok(verdict)
}

/// The highest LSN that a mark which begins in `range` vouches for, or 0. `told`, now and then, how far it has come.
///
/// Who reads through the page cache, beside a writer, does not read what was never written: else each look would take as long
/// as a segment, and bring all of it into the cache. Recovery, which reads past the cache and cuts by what it finds, takes
/// no file system's word for that.
fn highest_mark(
    scan: &mut Scan,
    range: Range<u64>,
    access: Access,
    path: &Path,
    mut told: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let (mut at, mut highest) = (range.start, None);
    while at < range.end {
        told(at)?;
        let mut next = at.saturating_add(PIECE).min(range.end);
        let mut last = next;
        if access == Access::Read {
            let data = scan.next_data(at);
            let Some(data) = data.filter(|data| data.start < range.end) else { break };
            at = at.max(data.start);
            next = at.saturating_add(PIECE).min(range.end).min(data.end);
            // No byte of a mark is where nothing was written.
            last = next.min(data.end.saturating_sub(MARK_LEN - ALIGN));
        }
        let found = scan.highest_mark_in(at..last).map_err(|e| Error::io("pread", path, e))?;
        (highest, at) = (highest.max(found), next);
    }
    Ok(highest.unwrap_or(0))
}
