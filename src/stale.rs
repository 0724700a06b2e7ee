//! What a directory says of its manifest: whether the log has gone on since it was written, and what the files are that it
//! does not name (FORMAT.md, section 6).
//!
//! A manifest that someone put back is sound by itself. A log opened by it would remove the segments that it does not know, and
//! a reader would stop short of them without a word. So everyone that goes by a manifest asks here first, and recovery removes
//! only what is found free here.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::header::{Identity, Refusal, SPARE_MAGIC};
use crate::format::manifest::{Manifest, State};
use crate::segment::scan::{Scan, Step, Why, Window};
use crate::segment::{file_name, id_of, open_checked};
use crate::storage::{Access, Directory, File, is_of_the_caller};
use crate::walk;

/// What to do is part of the words: nothing else is wrong with the log.
pub(crate) const FOREIGN: &str =
    "it is a segment of another log, by the log id in its header: move it out of this directory";
const NO_FILE: &str = "it is no regular file";

/// A segment file that the manifest does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unnamed {
    /// Nothing in it is in the log, or ever was: a spare file, one that left the log, or one whose making was interrupted.
    Free,
    /// Made after the manifest, and holds a record.
    Newer,
    /// Another log's.
    Foreign,
    /// Made after the manifest, by a later version of the format.
    Unsupported { version: u32, features: u32 },
    /// What it is cannot be read. It may be all that is left of someone's data.
    Unknown,
}

/// What is not as the manifest says, and is no damage: ids of segments.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// To be removed or used again.
    pub(crate) free: Vec<u64>,
    /// Never removed; no new segment takes the number of one.
    pub(crate) unknown: Vec<u64>,
    /// Segments that the manifest names, in which nothing ever was, and whose files are lost or damaged: as if it did not name
    /// them.
    pub(crate) lost: Vec<u64>,
}

/// What the files are that `manifest` does not name.
///
/// # Errors
///
/// `Corrupt`, of the manifest, if the log has gone on since it was written; of a file that belongs to another log or is no
/// regular one. `UnsupportedFormat` for a segment of a later version that may be newer than the manifest. `Io`.
pub(crate) fn check(
    directory: &dyn Directory,
    manifest: &Manifest,
    names: &[String],
    access: Access,
) -> Result<Files> {
    let old = |what: &str| damage(directory.path().join(crate::manifest::NAME), None, what);
    if let Some(what) = went_on(directory, manifest, access)? {
        return Err(old(&what));
    }
    let lost = lost(directory, manifest)?;
    let without;
    let manifest = if lost.is_empty() {
        manifest
    } else {
        without = manifest.without(&lost);
        &without
    };
    let (mut files, mut newer) = (Files { lost, ..Files::default() }, None);
    for id in unnamed(manifest, names.iter().map(String::as_str)) {
        let path = directory.path().join(file_name(id));
        match look(directory, manifest, id, access)? {
            None => {}
            Some(Unnamed::Free) => files.free.push(id),
            Some(Unnamed::Unknown) => files.unknown.push(id),
            Some(Unnamed::Newer) => newer = newer.max(Some(id)),
            Some(Unnamed::Foreign) => return Err(damage(path, Some(id), FOREIGN)),
            Some(Unnamed::Unsupported { version, features }) => {
                return Err(Error::UnsupportedFormat { path, version, features });
            }
        }
    }
    newer.map_or(Ok(files), |id| Err(old(&is_older(id))))
}

/// Why the manifest is not the log's newest, if something says so.
pub(crate) fn why_old<'a>(
    directory: &dyn Directory,
    manifest: &Manifest,
    names: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let is_newer =
        |id: &u64| matches!(look(directory, manifest, *id, Access::Read), Ok(Some(Unnamed::Newer)));
    let newer = unnamed(manifest, names).filter(is_newer).max().map(is_older);
    newer.or_else(|| went_on(directory, manifest, Access::Read).unwrap_or_default())
}

fn is_older(id: u64) -> String {
    format!("it is older than segment {id}, which holds records and which it does not name")
}

/// Whether this file, which the manifest does not name, is one that recovery may remove.
pub(crate) fn is_free(directory: &dyn Directory, manifest: &Manifest, name: &str) -> bool {
    id_of(name).is_some_and(|id| {
        matches!(look(directory, manifest, id, Access::Read), Ok(Some(Unnamed::Free)))
    })
}

/// # Errors
///
/// `UnsupportedFormat`, `Io`.
fn lost(directory: &dyn Directory, manifest: &Manifest) -> Result<Vec<u64>> {
    let mut lost = Vec::new();
    for entry in manifest.segments.iter().filter(|entry| manifest.is_unused(entry)) {
        match open_checked(directory, &entry.identity(manifest.log_id), Access::Read) {
            Ok(_) => {}
            Err(Error::Corrupt(_)) => lost.push(entry.id),
            Err(error) => return Err(error),
        }
    }
    Ok(lost)
}

fn damage(path: PathBuf, segment: Option<u64>, what: &str) -> Error {
    Error::corrupt(path, segment, 0, Lsn::MIN..Lsn::MIN, what)
}

/// Ids of segment files that the manifest does not name.
fn unnamed<'a>(
    manifest: &Manifest,
    names: impl Iterator<Item = &'a str>,
) -> impl Iterator<Item = u64> {
    names.filter_map(id_of).filter(move |id| !is_named(manifest, *id))
}

fn is_named(manifest: &Manifest, id: u64) -> bool {
    manifest.find(id).is_some()
}

/// None: it has gone since the directory was read. A running writer, next to which someone looks, gave it another name.
fn look(
    directory: &dyn Directory,
    manifest: &Manifest,
    id: u64,
    access: Access,
) -> Result<Option<Unnamed>> {
    let path = directory.path().join(file_name(id));
    // One that left the log long ago holds nothing up, whoever may read it.
    let failed = |op, error| match id < manifest.next_id {
        true => Ok(Some(Unnamed::Unknown)),
        false => Err(Error::io(op, &path, error)),
    };
    let file = match directory.open(&file_name(id), access) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damage(path, Some(id), NO_FILE));
        }
        Err(e) => return failed("open", e),
    };
    judge(&file, manifest, id).map(Some).or_else(|e| failed("pread", e))
}

fn judge(file: &Arc<dyn File>, manifest: &Manifest, id: u64) -> std::io::Result<Unnamed> {
    let len = file.status()?.len;
    // The header's page, and the word after it, which a segment is made with.
    let first = usize::try_from(len.min(DATA_START + 8)).unwrap_or(0);
    let mut window = Window::of_a_page(Arc::clone(file), len);
    let Some(first) = window.get(0, first)? else { return Ok(Unnamed::Unknown) };
    if first.starts_with(&SPARE_MAGIC) || first.iter().all(|byte| *byte == 0) {
        return Ok(Unnamed::Free);
    }
    let identity = match Identity::decode(first) {
        Ok(identity) if identity.log_id != manifest.log_id => return Ok(Unnamed::Foreign),
        // A copy of one that is in the log, or its file under another name: no crash leaves that.
        Ok(identity) if is_named(manifest, identity.id) => return Ok(Unnamed::Unknown),
        Ok(identity) if identity.id < manifest.next_id => return Ok(Unnamed::Free),
        Ok(identity) => identity,
        Err(Refusal::Unsupported { version, features }) if id >= manifest.next_id => {
            return Ok(Unnamed::Unsupported { version, features });
        }
        Err(_) => return Ok(Unnamed::Unknown),
    };
    let window = Window::of_a_page(Arc::clone(file), identity.size.min(len));
    let mut scan = Scan::new(window, identity.seed(), identity.base, identity.size, None);
    // Made, and not yet named when the power was cut: nothing was ever appended.
    Ok(if is_at_a_frame(&mut scan)? { Unnamed::Newer } else { Unnamed::Free })
}

fn is_at_a_frame(scan: &mut Scan) -> std::io::Result<bool> {
    Ok(match scan.step()? {
        Step::Frame { .. } => true,
        Step::Stopped(stop) => matches!(stop.why, Why::End { .. }),
    })
}

/// At a clean end, and in the segments made ready after it, nothing was ever appended: the next open replaces the manifest
/// before it appends. What is wrong with such a segment as a whole is not said here. For an open, one that cannot be read is
/// an error: it would write over what is there. A reader meets it where it comes to it, unless nothing can be read at all.
fn went_on(
    directory: &dyn Directory,
    manifest: &Manifest,
    access: Access,
) -> Result<Option<String>> {
    let counts = |error: &io::Error| access == Access::Direct || is_of_the_caller(error);
    let Some(end) = manifest.clean_end else { return Ok(None) };
    let open = manifest.segments.iter().enumerate().filter(|(_, e)| e.state != State::Sealed);
    for (index, entry) in open {
        let mut scan = match walk::scan(directory, manifest, index, access) {
            Ok(scan) => scan,
            Err(Error::Io { op, path, source }) if counts(&source) => {
                return Err(Error::Io { op, path, source });
            }
            Err(_) => continue,
        };
        let at = if entry.state == State::Active { end } else { entry.base + DATA_START };
        scan.bound = None;
        scan.begin_small();
        scan.go_to(at - entry.base);
        match is_at_a_frame(&mut scan) {
            Ok(true) => {
                return Ok(Some(format!(
                    "it says that the log was closed at LSN {end}, and it went on at {at}"
                )));
            }
            Err(error) if counts(&error) => {
                return Err(Error::io("pread", directory.path().join(file_name(entry.id)), error));
            }
            Ok(false) | Err(_) => {}
        }
    }
    Ok(None)
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
        let check = |ids: &[u64]| check(&disk, &old, &names(ids), Access::Read);
        assert!(check(&[7]).unwrap().free.is_empty());
        assert!(check(&[1, 7]).unwrap_err().is_corrupt());
        let why = why_old(&disk, &old, names(&[1, 7]).iter().map(String::as_str));
        assert!(why.unwrap().contains("segment 1"));
    }
}
