//! Where the log ends that was not closed, and what is in the segments that no manifest calls sealed.

use super::files::Files;
use super::recover::LogTail;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::notes::Notes;
use crate::progress::{Gauge, PIECE};
use crate::segment::verdict::Verdict;
use crate::segment::{file_name, open_checked};
use crate::storage::{Access, Directory};
use crate::walk;

/// What was found in the segments that were not sealed.
pub(super) struct Found {
    pub(super) sealed: Vec<Entry>,
    pub(super) tail: LogTail,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) notes: Notes,
}

impl Found {
    pub(super) fn nothing(notes: Notes) -> Found {
        Found { sealed: Vec::new(), tail: LogTail::Clean, records: 0, bytes: 0, notes }
    }
}

/// How far before a clean end a mark is looked for, from which on every frame is checked. As a rule one lies in the first.
const BEFORE: [u64; 3] = [64 << 10, 1 << 20, 16 << 20];

/// Of a log that was closed cleanly, what it goes on after: every frame from some mark on, or from the segment's start, leads
/// to the end. Else a replay would stop at the damage, and never come to what is appended now.
pub(super) fn check_before(directory: &dyn Directory, manifest: &Manifest, end: u64) -> Result<()> {
    let active = |entry: &Entry| entry.state == State::Active;
    let Some(index) = manifest.segments.iter().position(active) else { return Ok(()) };
    let Some(entry) = manifest.segments.get(index) else { return Ok(()) };
    let path = walk::path_of(directory, entry);
    let io = |e| Error::io("pread", &path, e);
    // Past the cache, which is not to hold what is appended to in large folios.
    let mut scan = walk::scan(directory, manifest, index, Access::Direct)?;
    scan.begin_small();
    let (end, mut from) = (end - entry.base, DATA_START);
    for before in BEFORE.into_iter().filter(|before| end > DATA_START + before) {
        if let Some(mark) = scan.first_mark_in(end - before..end).map_err(io)? {
            from = mark;
            break;
        }
    }
    scan.go_to(from);
    if let Some(stop) = scan.run_to(u64::MAX, |_, _| {}).map_err(io)? {
        walk::judge_by(directory, manifest, index, &stop, manifest.durable)?;
    }
    Ok(())
}

/// Walks what was not sealed. Reads only; but what it reads is durable.
pub(super) fn find_end(files: &Files, manifest: &Manifest) -> Result<Found> {
    let directory = &*files.directory;
    let open = |entry: &&Entry| entry.state != State::Sealed;
    let sizes = manifest.segments.iter().map(|entry| Some(entry.size).filter(|_| open(&entry)));
    let mut gauge = Gauge::new(files.options.progress.as_ref(), sizes);
    gauge.at(0, 0)?;
    for entry in manifest.segments.iter().filter(open) {
        let (path, file) =
            open_checked(directory, &entry.identity(manifest.log_id), Access::ReadWrite)?;
        file.sync().map_err(|e| Error::io("fdatasync", &path, e))?;
        if let Err(error) = file.drop_cache() {
            // After a failed sync the cache may hold what the disk does not have. That matters to no one who reads past it.
            let direct = directory.open(&file_name(entry.id), Access::Direct);
            if !direct.map_err(|e| Error::io("open", &path, e))?.passes_cache() {
                return Err(Error::io("fadvise", &path, error));
            }
        }
    }
    let mut found = Found::nothing(manifest.notes.clone());
    let last_sealed = manifest.segments.iter().rev().find(|entry| !open(entry));
    let nothing = if manifest.segments.is_empty() { manifest.next_base } else { manifest.durable };
    let mut at = last_sealed.map_or(nothing, |entry| entry.end);
    let mut torn = false;
    for (index, entry) in manifest.segments.iter().enumerate().filter(|(_, entry)| open(entry)) {
        let mut scan = walk::scan(directory, manifest, index, Access::Direct)?;
        let path = walk::path_of(directory, entry);
        let stop = loop {
            gauge.at(index, scan.offset())?;
            let next = scan.offset().saturating_add(PIECE);
            if let Some(stop) = scan
                .run_to(next, |lsn, note| {
                    // The manifest has the others: again, with all that came behind them, they may not come to the same.
                    if lsn >= manifest.noted {
                        found.notes.apply(note);
                    }
                })
                .map_err(|e| Error::io("pread", &path, e))?
            {
                break stop;
            }
        };
        let access = Access::Direct;
        let verdict =
            walk::judge(directory, manifest, index, &mut scan, &stop, access, &mut gauge)?;
        found.records += scan.records;
        found.bytes += scan.bytes;
        let (end, goes_on) = match verdict {
            Verdict::Follow { at } => (at, true),
            Verdict::Ends { at, torn: cut } => {
                torn = cut;
                (at, false)
            }
            Verdict::Whole | Verdict::Damage { .. } => (stop.at, false),
        };
        if end > DATA_START {
            at = entry.base + end;
            found.sealed.push(Entry { state: State::Sealed, end: at, ..*entry });
        }
        if !goes_on {
            break;
        }
    }
    gauge.at(manifest.segments.len(), 0)?;
    let at = Lsn::new(at);
    found.tail = if torn { LogTail::Torn { at } } else { LogTail::Unclean { at } };
    Ok(found)
}
