//! The manifest as a file: loaded at open, replaced atomically at every change of the set of segments.

use std::path::Path;

use crate::Lsn;
use crate::error::{Error, Limit, Result};
use crate::format::header::Refusal;
use crate::format::manifest::Manifest;
use crate::format::watermark::highest;
use crate::storage::{Access, Directory, File};
use crate::watermark;

pub(crate) const NAME: &str = "MANIFEST";
pub(crate) const NEW: &str = "MANIFEST.new";
/// Space held back for a manifest on a full disk; never named in one.
pub(crate) const RESERVE: &str = "RESERVE";
/// Room for the manifest of 1,400 segments, and for what the file system keeps back before it names it: xfs
/// did so at 64 and at 256 KiB (measured), not at 512.
const RESERVE_SIZE: u64 = 512 << 10;
/// A part of one that is worth keeping: room for the manifest of a few segments.
const LEAST_RESERVE: u64 = 8 << 10;
/// No allocation larger than a manifest can be.
pub(crate) const MAX_SIZE: u64 = 64 << 20;

/// Reads the manifest, and what the watermark knows better. None: there is none.
pub(crate) fn load(directory: &dyn Directory) -> Result<Option<Manifest>> {
    let path = directory.path().join(NAME);
    let nowhere = Lsn::MIN..Lsn::MIN;
    let damage = |what: &str| Error::corrupt(&path, None, 0, nowhere.clone(), what);
    // First: a running writer may move on, and the manifest must know every window that this names.
    let watermark = watermark::load(directory)?;
    let file = match directory.open(NAME, Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damage("it is no regular file"));
        }
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let len = file.status().map_err(|e| Error::io("fstat", &path, e))?.len;
    if len > MAX_SIZE {
        return Err(damage("it is larger than a manifest can be"));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("pread", &path, e))?;
    bytes.truncate(read);
    match Manifest::decode(&bytes) {
        Ok(mut manifest) => {
            let durable = highest(&watermark, manifest.log_id).unwrap_or(0);
            if manifest.clean_end.is_some_and(|end| end < durable) {
                return Err(damage("it is older than the watermark: the log went on"));
            }
            if durable > manifest.next_base {
                return Err(damage("it is older than the watermark: it does not know the segment"));
            }
            manifest.durable = manifest.durable.max(durable);
            Ok(Some(manifest))
        }
        Err(Refusal::Damaged(what)) => Err(damage(what)),
        Err(Refusal::Unsupported { version, features }) => {
            Err(Error::UnsupportedFormat { path, version, features })
        }
    }
}

/// Replaces the manifest; durable on Ok.
///
/// `Full`: the old manifest stands and nothing has changed, also after a crash. Any other error: which of
/// the two stands after a crash is unknown, and the log must not go on.
///
/// `reserve`: on a full disk the reserve may be spent, for a manifest that gives space back or ends the log's use.
/// One that names more files must not.
pub(crate) fn store(directory: &dyn Directory, manifest: &Manifest, reserve: bool) -> Result<()> {
    write(directory, manifest, reserve)?;
    put_in_place(directory)
}

/// Writes the manifest next to the one that stands. Whatever fails, nothing has changed, also after a crash.
pub(crate) fn write(directory: &dyn Directory, manifest: &Manifest, reserve: bool) -> Result<()> {
    let bytes = manifest
        .encode()
        .map_err(|what| Error::full(Limit::Format, "encode", directory.path(), what))?;
    if let Err(error) = write_new(directory, &bytes) {
        if !matches!(error, Error::Full { .. }) || !reserve || !release_reserve(directory)? {
            return Err(error);
        }
        write_new(directory, &bytes)?;
    }
    Ok(())
}

/// Puts what was [written](write) in the place of the old one; durable on Ok. An error is never `Full`: the new name may or
/// may not be durable.
pub(crate) fn put_in_place(directory: &dyn Directory) -> Result<()> {
    let unknown = |op, source| Error::Io { op, path: directory.path().join(NAME), source };
    directory.rename(NEW, NAME).map_err(|e| unknown("rename", e))?;
    directory.sync().map_err(|e| unknown("fsync of the directory", e))
}

fn write_new(directory: &dyn Directory, bytes: &[u8]) -> Result<()> {
    let path = directory.path().join(NEW);
    remove_if_there(directory, NEW)?;
    let written = directory.create(NEW).map_err(|e| Error::io("open", &path, e)).and_then(|file| {
        file.write_at(bytes, 0).map_err(|e| Error::io("pwrite", &path, e))?;
        file.sync().map_err(|e| Error::io("fdatasync", &path, e))
    });
    if written.is_err() {
        // The next try removes it first, if this does not.
        drop(remove_if_there(directory, NEW));
    }
    written
}

pub(crate) fn remove_if_there(directory: &dyn Directory, name: &str) -> Result<()> {
    match directory.remove(name) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("unlink", directory.path().join(name), e))
        }
        _ => Ok(()),
    }
}

/// Gives the reserve's blocks back. False: there was none.
pub(crate) fn release_reserve(directory: &dyn Directory) -> Result<bool> {
    let file = directory.open(RESERVE, Access::ReadWrite);
    match directory.remove(RESERVE) {
        Ok(()) => {
            // A process that has it open, a backup or a child that is just being forked, would keep its blocks. After the
            // name, so that a crash leaves no reserve that is none. Under another name it is someone else's.
            let unlinked =
                file.ok().filter(|file| file.status().is_ok_and(|status| status.links == 0));
            if let Some(file) = unlinked {
                file.punch_hole(0..RESERVE_SIZE).unwrap_or_default();
            }
            // Journaling file systems hand blocks out again only once the removal is committed.
            directory.sync().map_err(|e| Error::io("fsync", directory.path(), e)).map(|()| true)
        }
        Err(_) => Ok(false),
    }
}

/// Puts the reserve back, if there is room. Durable, though nothing depends on it: a name that is
/// in the directory and not durable would be an exception to explain.
pub(crate) fn fill_reserve(directory: &dyn Directory) -> Result<()> {
    // By its name: the worker looks each round, also when no file can be opened.
    let whole = directory.status(RESERVE).is_ok_and(|there| {
        there.links == 1 && there.len == RESERVE_SIZE && there.held >= RESERVE_SIZE
    });
    if whole {
        return Ok(());
    }
    let path = directory.path().join(RESERVE);
    let file = match directory.create(RESERVE) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let there = directory
                .open(RESERVE, Access::ReadWrite)
                .and_then(|file| file.status().map(|status| (file, status)));
            match there {
                // Linked elsewhere: to remove it would give nothing back.
                Ok((_, there)) if there.links > 1 => {}
                // Restored by a tool that leaves out zeros; on a file system that tells no blocks; or a part of one, which
                // is better than none.
                Ok((file, there)) if there.len == RESERVE_SIZE || there.held > 0 => {
                    return fill(&*file, &path, RESERVE_SIZE);
                }
                // One that a crash left empty holds nothing back.
                _ => {}
            }
            remove_if_there(directory, RESERVE)?;
            directory.create(RESERVE).map_err(|e| Error::io("open", &path, e))?
        }
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let filled = fill(&*file, &path, RESERVE_SIZE)
        .and_then(|()| directory.sync().map_err(|e| Error::io("fsync", directory.path(), e)));
    if filled.is_err() {
        // If it stays it is replaced the next time, or is a reserve.
        drop(remove_if_there(directory, RESERVE));
    }
    filled
}

/// Makes a reserve of what room there is, if there is none. A name that cannot be removed stays: it is replaced the next
/// time, or is a reserve.
pub(crate) fn keep_some_reserve(directory: &dyn Directory) -> Result<()> {
    let path = directory.path().join(RESERVE);
    let mut size = RESERVE_SIZE / 8 * 7;
    while size >= LEAST_RESERVE {
        let kept = match directory.create(RESERVE) {
            Ok(file) => fill(&*file, &path, size),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(e) => Err(Error::io("open", &path, e)),
        };
        match kept {
            Err(Error::Full { .. }) => drop(remove_if_there(directory, RESERVE)),
            kept => {
                kept?;
                return directory.sync().map_err(|e| Error::io("fsync", directory.path(), e));
            }
        }
        size -= size.div_ceil(8).next_multiple_of(4096);
    }
    Ok(())
}

fn fill(reserve: &dyn File, path: &Path, size: u64) -> Result<()> {
    reserve
        .allocate(size)
        .map_err(|e| Error::io("fallocate", path, e))
        .and_then(|()| reserve.sync().map_err(|e| Error::io("fdatasync", path, e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    #[test]
    fn a_reserve_that_is_linked_elsewhere_keeps_its_blocks_there() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        std::fs::create_dir(&dir).unwrap();
        let disk = Disk::open(&dir).unwrap();
        fill_reserve(&disk).unwrap();
        let link = home.path().join("link");
        std::fs::hard_link(dir.join(RESERVE), &link).unwrap();
        assert!(release_reserve(&disk).unwrap());
        let held = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(link).unwrap());
        assert!(held * 512 >= RESERVE_SIZE, "{held}");
    }
}
