//! Where the log ends that was not closed, and what is in the segments that no manifest calls sealed.

use super::files::Files;
use super::recover::LogTail;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::notes::Notes;
use crate::progress::{Gauge, PIECE};
use crate::segment::open_checked;
use crate::segment::verdict::Verdict;
use crate::storage::Access;
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
        file.drop_cache().map_err(|e| Error::io("fadvise", &path, e))?;
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
