//! Walking a log whose end is not known, as FORMAT.md, section 6, says: for recovery and inspection.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::{Head, Kind, MARK_LEN, is_valid};
use crate::format::header::Identity;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::{self, ALIGN, DATA_START};
use crate::progress::{Gauge, PIECE};
use crate::segment::scan::{Scan, Step, Stop, Window};
use crate::segment::verdict::{Says, Verdict, cut_of, needs_evidence, verdict};
use crate::segment::{file_name, id_of, open_checked};
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

/// Nothing says that the manifest is not the newest.
pub(crate) fn check_newest(
    directory: &dyn Directory,
    manifest: &Manifest,
    names: &[String],
) -> Result<()> {
    newer_segment(directory, manifest, names)?.map_or(Ok(()), |id| Err(not_newest(directory, id)))
}

pub(crate) fn not_newest(directory: &dyn Directory, id: u64) -> Error {
    let manifest = directory.path().join(crate::manifest::NAME);
    let what = format!("it is older than segment {id}, which holds records that it does not name");
    Error::corrupt(manifest, None, 0, Lsn::MIN..Lsn::MIN, what)
}

/// The last segment that was made after the manifest, which does not name it, and that has a frame in it.
pub(crate) fn newer_segment(
    directory: &dyn Directory,
    manifest: &Manifest,
    names: &[String],
) -> Result<Option<u64>> {
    let mut newer = None;
    for id in unnamed(manifest, names).filter(|id| *id >= manifest.next_id) {
        let path = directory.path().join(file_name(id));
        let file = match directory.open(&file_name(id), Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                let what = "it is no regular file";
                return Err(Error::corrupt(path, Some(id), 0, Lsn::MIN..Lsn::MIN, what));
            }
            // A running writer, beside which someone looks, gave it another name.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let mut first = vec![0; format::header::LEN];
        file.read_at(&mut first, 0).map_err(|e| Error::io("pread", &path, e))?;
        let Ok(identity) = Identity::decode(&first) else { continue };
        if identity.id == id
            && has_first_frame(&*file, &identity).map_err(|e| Error::io("pread", &path, e))?
        {
            newer = newer.max(Some(id));
        }
    }
    Ok(newer)
}

fn has_first_frame(file: &dyn File, identity: &Identity) -> std::io::Result<bool> {
    let Identity { base, size, .. } = *identity;
    if !format::is_segment_size(size) || base > format::MAX_LSN {
        return Ok(false);
    }
    let place = format::frame::Place { seed: identity.seed(), base, size, offset: DATA_START };
    let mut first = [0; 8];
    file.read_at(&mut first, DATA_START)?;
    let Some(head): Option<Head> = format::frame::head(first, place) else { return Ok(false) };
    if file.status()?.len < size {
        return Ok(false);
    }
    let mut payload = vec![0; head.len as usize];
    file.read_at(&mut payload, DATA_START + format::frame::HEADER_LEN)?;
    Ok(is_valid(head, &payload, place))
}

/// Ids of segment files that the manifest does not name.
pub(crate) fn unnamed<'a>(
    manifest: &'a Manifest,
    names: &'a [String],
) -> impl Iterator<Item = u64> + 'a {
    let named = |id: &u64| manifest.segments.iter().any(|entry| entry.id == *id);
    names.iter().filter_map(|name| id_of(name)).filter(move |id| !named(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    /// A writer may rename or remove a file between the look at the names and the look at the file.
    #[test]
    fn a_file_that_has_gone_since_the_directory_was_read_holds_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let log = crate::Log::open(dir.path()).unwrap();
        log.append(b"one").unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let manifest = crate::manifest::load(&disk).unwrap().unwrap();
        let old = Manifest { segments: Vec::new(), next_id: 1, next_base: 0, ..manifest };
        let names = |ids: &[u64]| ids.iter().map(|id| file_name(*id)).collect::<Vec<_>>();
        assert_eq!(newer_segment(&disk, &old, &names(&[7])).unwrap(), None);
        assert_eq!(newer_segment(&disk, &old, &names(&[1, 7])).unwrap(), Some(1));
        assert!(check_newest(&disk, &old, &names(&[1, 7])).unwrap_err().is_corrupt());
    }
}
