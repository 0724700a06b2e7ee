//! The watermark as a file: evidence of what was durable, in another place than the log itself.
//!
//! A mark in the log is lost with the sector or the page that holds it, and the last groups share one. So after
//! each sync the durable LSN is also stored in this file, through a mapping, and never synced: a
//! store of 36 bytes, no system call, no write of its own. After the death of the process the
//! cache has the exact end of what was committed; after a power cut the disk has some earlier one. Both are
//! true, since they were stored after the sync: where the log is found to end before, committed
//! records are damaged (P5). Nothing else depends on it: without the file there are the marks.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::watermark::{LEN, SLOTS, slot};
use crate::manifest::remove_if_there;
use crate::storage::{Access, Directory, File, Writer};

pub(crate) const NAME: &str = "WATERMARK";

/// The mapped file.
#[derive(Debug)]
pub(crate) struct Watermark {
    writer: Writer,
    /// Keeps the file open for as long as it is mapped.
    _file: Arc<dyn File>,
    log_id: [u8; 16],
    turn: bool,
}

/// The file's bytes; none if there is no such file.
pub(crate) fn load(directory: &dyn Directory) -> Result<Vec<u8>> {
    let path = directory.path().join(NAME);
    let file = match directory.open(NAME, Access::Read) {
        Ok(file) => file,
        // None, or not a file of ours: it says nothing.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::io("open", path, e)),
    };
    let mut bytes = vec![0; LEN];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("pread", path, e))?;
    bytes.truncate(read);
    Ok(bytes)
}

impl Watermark {
    /// Opens the file, or makes it. None where a store could be a signal on a full disk, and where there is
    /// no room for it: then there are only the marks.
    pub(crate) fn open(directory: &dyn Directory, log_id: [u8; 16]) -> Result<Option<Watermark>> {
        let safe = directory.stores_are_safe();
        if !safe.map_err(|e| Error::io("fstatfs", directory.path(), e))? {
            return Ok(None);
        }
        let fit = |file: &Arc<dyn File>| {
            file.status().is_ok_and(|status| status.len == LEN as u64)
                && file.blocks(0).is_ok_and(|blocks| blocks.written >= LEN as u64)
        };
        let found = match directory.open(NAME, Access::ReadWrite) {
            Ok(file) => Some(file).filter(fit),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => None,
            Err(e) => return Err(Error::io("open", directory.path().join(NAME), e)),
        };
        let file = match found.map_or_else(|| create(directory), Ok) {
            Ok(file) => file,
            Err(Error::Full { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = directory.path().join(NAME);
        let writer = file.map(LEN as u64, true, 0).map_err(|e| Error::io("mmap", path, e))?;
        Ok(Some(Watermark { writer, _file: file, log_id, turn: false }))
    }

    /// Everything below `durable` is. Only after the sync that made it so.
    pub(crate) fn note(&mut self, durable: u64) {
        let [first, second] = SLOTS;
        let at = if self.turn { first } else { second };
        self.turn = !self.turn;
        self.writer.write(at as u64, &slot(self.log_id, durable));
    }
}

fn create(directory: &dyn Directory) -> Result<Arc<dyn File>> {
    let path = directory.path().join(NAME);
    remove_if_there(directory, NAME)?;
    let file = directory.create(NAME).map_err(|e| Error::io("open", &path, e))?;
    let filled = file
        .allocate(LEN as u64)
        .map_err(|e| Error::io("fallocate", &path, e))
        .and_then(|()| file.write_at(&[0; LEN], 0).map_err(|e| Error::io("pwrite", &path, e)))
        .and_then(|()| file.sync().map_err(|e| Error::io("fdatasync", &path, e)))
        .and_then(|()| directory.sync().map_err(|e| Error::io("fsync", directory.path(), e)));
    if filled.is_err() {
        drop(remove_if_there(directory, NAME)); // else replaced the next time
    }
    filled.map(|()| file)
}
