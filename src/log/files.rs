//! The files of the log: making segments ready, recycling, giving them back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::header::{Identity, SPARE_MAGIC};
use crate::format::manifest::{Entry, State};
use crate::options::{Options, SyncMethod, SyncPolicy, WriteMethod};
use crate::segment::{Grain, Segment, SegmentWriter, Way, bulk, file_name, is_ours_alone};
use crate::storage::{Access, Directory, File, Process, forget};
use crate::sync::{Instant, Mutex};
use crate::watermark::Watermark;

/// How long what is synced may go to a file that someone has removed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A few milliseconds of a disk's time: a commit that comes then has little left to wait for.
const BACKGROUND: u64 = 8 << 20;

/// What every part of the engine needs to touch the log's files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) directory: Box<dyn Directory>,
    pub(crate) options: Options,
    pub(crate) log_id: [u8; 16],
    pub(crate) way: Way,
    /// With so many bytes between two syncs nothing is filled ahead.
    bulk: u64,
    pub(crate) process: Process,
    /// When a sync last looked for the name of the active segment.
    looked: Mutex<Option<Instant>>,
}

/// Numbers not yet used, and files without a use. Only the holder of the upkeep lock has it.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    pub(crate) generation: u64,
    pub(crate) next_id: u64,
    pub(crate) next_base: u64,
    /// Ids of files that no durable manifest names and that may be recycled.
    pub(crate) pool: Vec<u64>,
    /// Ids in the names of files that are not to be touched, since what they hold is not known.
    pub(crate) taken: Vec<u64>,
    /// There was a reserve in this instance's time: where it is gone, it was spent and is owed.
    pub(crate) had_reserve: bool,
}

impl Files {
    pub(crate) fn new(
        directory: Box<dyn Directory>,
        options: Options,
        log_id: [u8; 16],
        process: Process,
    ) -> Files {
        let way = match options.write_method {
            WriteMethod::Mmap => Way::Store,
            WriteMethod::Pwrite => Way::Pwrite,
            WriteMethod::Auto if !directory.stores_are_safe() => Way::Pwrite,
            WriteMethod::Auto if options.sync_method == SyncMethod::Msync => Way::Store,
            WriteMethod::Auto => Way::Either,
        };
        let mut options = options;
        if way == Way::Pwrite {
            // POSIX promises msync for what was stored through the mapping, not for what another
            // descriptor wrote to the file.
            options.sync_method = SyncMethod::Fdatasync;
        }
        let bulk = bulk(directory.has_journal());
        Files { directory, options, log_id, way, bulk, process, looked: Mutex::new(None) }
    }

    /// Makes the next segment: a recycled file if there is one, else a new one; on the disk with its
    /// name, but in no manifest yet. The numbers in `stock` move on only once one names it. The page cache may not hold a
    /// recycled one, which is still to be warmed.
    pub(crate) fn make_segment(&self, stock: &mut Stock, size: u64) -> Result<SegmentWriter> {
        let random = self
            .directory
            .random()
            .map_err(|e| Error::io("getrandom", self.directory.path(), e))?;
        while stock.taken.contains(&stock.next_id) {
            stock.next_id += 1;
        }
        let identity = Identity {
            log_id: self.log_id,
            id: stock.next_id,
            base: stock.next_base,
            size,
            salt: crate::format::u64_at(&random, 0).unwrap_or(0),
        };
        let name = file_name(identity.id);
        let path = self.directory.path().join(&name);
        let sync_name =
            || self.directory.sync().map_err(|e| Error::io("fsync", self.directory.path(), e));
        let recycled =
            if size == self.options.segment_size { self.take_spare(stock) } else { None };
        let cold = recycled.is_some();
        let ahead = self.way.written_ahead(identity.size);
        let made = match recycled {
            Some(old) => {
                // The durable manifest no longer names the old name. The new name must be durable
                // before the old content goes: a crash must not show the old name with new content.
                let renamed = self.directory.rename(&file_name(old), &name);
                if let Err(error) = renamed {
                    stock.pool.push(old);
                    return Err(Error::io("rename", &path, error));
                }
                sync_name().and_then(|()| Segment::recycle(&*self.directory, identity))
            }
            None => crate::manifest::remove_if_there(&*self.directory, &name)
                .and_then(|()| Segment::create(&*self.directory, identity, ahead))
                .and_then(|file| sync_name().map(|()| file)),
        };
        let made = made.and_then(|file| {
            let start = identity.base + DATA_START;
            let blocks = file.blocks(0).map_err(|e| Error::io("fiemap", &path, e))?;
            let fresh = if cold { blocks.written / DATA_START * DATA_START } else { ahead };
            let fine = if cold { 0 } else { ahead };
            let (segment, writer) =
                Segment::map(path, file, identity, self.way.stores(), start, 0..fresh)?;
            let grain = Grain::new(identity.size, 0..fine, fresh, !cold, self.bulk);
            Ok(SegmentWriter::new(segment, writer, DATA_START, self.way, grain))
        });
        made.inspect_err(|_| self.discard(identity.id))
    }

    /// A file to recycle. One that was linked since it was kept is removed instead: its other name keeps its bytes.
    fn take_spare(&self, stock: &mut Stock) -> Option<u64> {
        while let Some(id) = stock.pool.pop() {
            if self.directory.status(&file_name(id)).is_ok_and(|status| is_ours_alone(&status)) {
                return Some(id);
            }
            // Where it cannot be removed, the next open tries again: no manifest names it.
            self.discard(id);
        }
        None
    }

    /// After so many bytes the worker syncs, whoever commits or not: by the policy, or so that the disk is not idle while
    /// much is appended that it has to write anyway.
    pub(crate) fn sync_every(&self) -> u64 {
        match self.options.sync_policy {
            SyncPolicy::Bytes(every) => every,
            SyncPolicy::OnCommit | SyncPolicy::Interval(_) => BACKGROUND,
        }
    }

    /// A new segment that no manifest could be made to name must not keep a full disk full. Where it cannot be removed
    /// either, the next one of its name takes its place.
    pub(crate) fn discard(&self, id: u64) {
        drop(crate::manifest::remove_if_there(&*self.directory, &file_name(id)));
    }

    /// Fills the reserve. False: there is no room for it.
    pub(crate) fn fill_reserve(&self, stock: &mut Stock) -> Result<bool> {
        match crate::manifest::fill_reserve(&*self.directory) {
            Err(Error::Full { .. }) => Ok(false),
            filled => filled.map(|()| {
                stock.had_reserve = true;
                true
            }),
        }
    }

    /// Fills it, and of one that is owed as much as there is room for, before another program takes that.
    pub(crate) fn fill_some_reserve(&self, stock: &mut Stock) -> Result<()> {
        let filled = self.fill_reserve(stock)?;
        if filled || !stock.had_reserve {
            return Ok(());
        }
        crate::manifest::keep_some_reserve(&*self.directory)
    }

    /// Opens a segment to append to it from `end` on.
    pub(crate) fn open_writer(&self, entry: &Entry, end: u64) -> Result<SegmentWriter> {
        let identity = entry.identity(self.log_id);
        let (segment, writer, fresh) =
            Segment::open_to_write(&*self.directory, identity, self.way, end)?;
        let grain = Grain::new(identity.size, 0..0, fresh, false, self.bulk);
        Ok(SegmentWriter::new(segment, writer, end - entry.base, self.way, grain))
    }

    /// Makes `dirty` of a segment durable, and sees to it that it can be found: always, if it is `full` and so not synced
    /// again; else once a second, since a commit that looks takes 1.4 times as long on a fast disk (measured).
    pub(crate) fn sync(&self, segment: &Segment, dirty: Range<u64>, full: bool) -> Result<()> {
        segment.sync(self.options.sync_method, dirty)?;
        if full || self.look_is_due() { segment.check_name(&*self.directory) } else { Ok(()) }
    }

    fn look_is_due(&self) -> bool {
        let mut looked = self.looked.lock();
        let due = looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if due {
            *looked = Some(Instant::now());
        }
        due
    }

    pub(crate) fn open_watermark(&self) -> Result<Option<Watermark>> {
        Watermark::open(&*self.directory, self.log_id, self.way.stores())
    }

    /// Opens a segment to read it up to `end`.
    pub(crate) fn open_reader(&self, identity: Identity, end: u64) -> Result<Arc<Segment>> {
        Segment::open(&*self.directory, identity, end)
    }

    /// Whether the file needs no more space, and is written as far as a new one would be.
    fn is_fit(&self, file: &dyn File) -> std::io::Result<bool> {
        let (status, blocks) = (file.status()?, file.blocks(0)?);
        Ok(status.len == self.options.segment_size
            && blocks.allocated >= status.len
            && blocks.written >= self.way.written_ahead(status.len)
            // Removed, it keeps its bytes for the others.
            && is_ours_alone(&status))
    }

    /// Removes spare files until all, with `others` bytes of segments, are below the cap. Bytes of those that are left.
    pub(crate) fn trim(&self, stock: &mut Stock, others: u64) -> u64 {
        let bytes = |stock: &Stock| self.options.segment_size * stock.pool.len() as u64;
        let Some((cap, _)) = self.options.retention.cap else { return bytes(stock) };
        while others + bytes(stock) > cap {
            let Some(id) = stock.pool.pop() else { break };
            if crate::manifest::remove_if_there(&*self.directory, &file_name(id)).is_err() {
                stock.pool.push(id); // it still counts
                break;
            }
        }
        bytes(stock)
    }

    /// A file that no durable manifest names: kept for recycling if it is fit and there is room for it,
    /// else removed. Whether it was kept.
    pub(crate) fn give_back(&self, stock: &mut Stock, id: u64) -> Result<bool> {
        let name = file_name(id);
        let path = self.directory.path().join(&name);
        let fit = stock.pool.len() < self.options.spare_segments
            && id < stock.next_id
            && self
                .directory
                .open(&name, Access::ReadWrite)
                // Only the manifest knows that it is out of the log; where that is lost, it says so itself.
                .and_then(|f| Ok(self.is_fit(&*f)? && f.write_at(&SPARE_MAGIC, 0).is_ok()))
                .is_ok_and(|fit| fit);
        if fit {
            stock.pool.insert(0, id);
        } else {
            let status = self.directory.status(&name);
            self.directory.remove(&name).map_err(|e| Error::io("unlink", &path, e))?;
            status.iter().for_each(|status| forget(status.id));
        }
        Ok(fit)
    }
}

/// What the manifest says of a segment.
pub(crate) fn entry(identity: &Identity, state: State, end: u64) -> Entry {
    let Identity { id, base, size, salt, .. } = *identity;
    Entry { id, base, size, salt, state, end }
}
