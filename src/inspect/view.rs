//! The manifest that a walk goes by, and the newest one: what of the former still holds.
//!
//! A manifest is replaced by rename and read whole, ids and windows are never used again, and a segment's entry
//! changes a few times in its life: from ready to active to sealed, and out of the log. So if the newest
//! manifest, loaded *after* a file was looked at, still says the same of the segment, it said so all the
//! while, and what was seen there is true: neither was the file recycled, nor the log cut, nor recovered.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::format::manifest::{Entry, Manifest};
use crate::inspect::RETRIES;
use crate::storage::{Access, Directory};
use crate::{Lsn, manifest, stale, walk, watermark};

/// The manifest as it is now. None is an error: which one says what is here instead.
pub(crate) fn newest(disk: &dyn Directory) -> Result<Arc<Manifest>> {
    let dir = disk.path().to_owned();
    if let Some(manifest) = manifest::load(disk)? {
        return Ok(Arc::new(manifest));
    }
    let names = disk.names().map_err(|e| Error::io("readdir", &dir, e))?;
    // Again: the log may have been made between the two looks, and then these are its files.
    if let Some(manifest) = manifest::load(disk)? {
        return Ok(Arc::new(manifest));
    }
    if names.iter().any(|name| crate::segment::id_of(name).is_some()) {
        let what = "it is missing, but there are segments";
        return Err(Error::corrupt(dir.join(manifest::NAME), None, 0, Lsn::MIN..Lsn::MIN, what));
    }
    // As for an open.
    let harmless = [manifest::NEW, manifest::RESERVE, watermark::NAME, "lost+found"];
    match names.into_iter().find(|name| !harmless.contains(&&**name)) {
        Some(found) => Err(Error::NotALog { dir, found }),
        None => Err(Error::NoLog { dir }),
    }
}

/// The same, for a look that begins: the directory says of it that it is the log's newest.
///
/// # Errors
///
/// Those of [`newest`], and of [`stale::check`].
pub(crate) fn current(disk: &dyn Directory) -> Result<Arc<Manifest>> {
    let mut view = newest(disk)?;
    for _ in 0..RETRIES {
        let names = disk.names().map_err(|e| Error::io("readdir", disk.path(), e))?;
        let Err(error) = stale::check(disk, &view, &names, Access::Read) else { break };
        // A running writer goes on: it names a segment before it appends to it, and takes back a clean end before that too.
        let now = newest(disk)?;
        if (now.log_id, now.generation) == (view.log_id, view.generation) {
            return Err(error);
        }
        view = now;
    }
    Ok(view)
}

/// Where reading from `from` begins, by the same rule as in the log itself.
pub(crate) fn from(manifest: &Manifest, from: Lsn) -> Result<u64> {
    let (head, checkpoint) = (manifest.head(), manifest.checkpoint);
    let end = manifest.clean_end.unwrap_or(manifest.next_base);
    Extent { head, checkpoint, end }.begin(from)
}

/// Where the window of segment `index` begins; behind the last, where the next one would.
pub(crate) fn base(manifest: &Manifest, index: usize) -> u64 {
    manifest.segments.get(index).map_or(manifest.next_base, |entry| entry.base)
}

/// Index of the first segment whose window begins at `base` or later.
pub(crate) fn index_of(manifest: &Manifest, base: u64) -> usize {
    manifest.segments.partition_point(|entry| entry.base < base)
}

/// Whether `now` names this segment: the same file in the same life.
pub(crate) fn names(now: &Manifest, log_id: [u8; 16], entry: &Entry) -> bool {
    now.find(entry.id).is_some_and(|e| e.identity(now.log_id) == entry.identity(log_id))
}

/// Whether `now` says the same as `view` of segment `index` of `view`, of its end and of what follows it.
pub(crate) fn says_the_same(view: &Manifest, now: &Manifest, index: usize) -> bool {
    let there = index_of(now, base(view, index));
    let entry = |manifest: &Manifest, index| manifest.segments.get(index).copied();
    now.log_id == view.log_id
        && entry(view, index) == entry(now, there)
        && walk::says(view, index) == walk::says(now, there)
}

/// Whether `now` says the same as `view` of segment `index` of `view` and of all behind it.
pub(crate) fn ends_the_same(view: &Manifest, now: &Manifest, index: usize) -> bool {
    let there = index_of(now, base(view, index));
    now.log_id == view.log_id
        && now.clean_end == view.clean_end
        && view.segments.get(index..) == now.segments.get(there..)
}

/// Whether the record at `lsn` is in the log by this manifest, as far as it knows the ends.
pub(crate) fn holds(manifest: &Manifest, lsn: u64) -> bool {
    let index = manifest.segments.partition_point(|entry| entry.base + entry.size <= lsn);
    let (_, bound) = walk::says(manifest, index);
    let entry = manifest.segments.get(index).filter(|entry| entry.base <= lsn);
    entry.is_some_and(|entry| bound.is_none_or(|bound| lsn < entry.base + bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::State;
    use crate::format::notes::Notes;

    fn entry(id: u64, state: State, end: u64) -> Entry {
        Entry { id, base: id * 65536, size: 65536, salt: id, state, end }
    }

    /// Segments 1, 2 and 3; 2 is active.
    fn view() -> Manifest {
        Manifest {
            log_id: [9; 16],
            generation: 5,
            checkpoint: 0,
            durable: 0,
            next_id: 4,
            next_base: 4 * 65536,
            clean_end: None,
            notes: Notes::default(),
            noted: 0,
            segments: vec![
                entry(1, State::Sealed, 65536 + 8000),
                entry(2, State::Active, 0),
                entry(3, State::Ready, 0),
            ],
        }
    }

    #[test]
    fn what_a_writer_may_do_elsewhere_leaves_a_segment_as_it_is() {
        let mut now = view();
        now.generation += 1;
        now.segments.remove(0);
        for index in [1, 2, 3] {
            assert!(says_the_same(&view(), &now, index) && ends_the_same(&view(), &now, index));
        }
        assert!(!says_the_same(&view(), &now, 0) && !ends_the_same(&view(), &now, 0));
    }

    #[test]
    fn whatever_bears_on_an_end_is_seen() {
        let changes: [fn(&mut Manifest); 6] = [
            |m| m.segments[1] = entry(2, State::Sealed, 2 * 65536 + 5000),
            |m| m.segments[1].salt += 1,
            |m| m.segments.truncate(2),
            |m| m.segments.clear(),
            |m| m.clean_end = Some(2 * 65536 + 5000),
            |m| m.log_id = [8; 16],
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut now = view();
            change(&mut now);
            assert!(!says_the_same(&view(), &now, 1) && !ends_the_same(&view(), &now, 1), "{i}");
        }
        // Another one behind the next bears on the end of the log, not on what is found in this segment.
        let mut now = view();
        now.segments.push(entry(4, State::Ready, 0));
        assert!(says_the_same(&view(), &now, 1) && !ends_the_same(&view(), &now, 1));
    }

    #[test]
    fn a_record_is_held_below_the_end_of_its_segment() {
        let view = view();
        for (lsn, held) in [
            (65535, false),
            (65536 + 7992, true),
            (65536 + 8000, false),
            (2 * 65536 + 8000, true),
            (4 * 65536, false),
        ] {
            assert_eq!(holds(&view, lsn), held, "{lsn}");
        }
    }
}
