//! A simulated disk as the engine sees it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;

use super::pages::PAGE;
use super::world::{Turn, World};
use super::{Call, SimDisk, Unwritten};
use crate::storage::{Access, Blocks, Directory, File, Region, Status, Writer};

pub(super) type Shared = Arc<Mutex<World>>;

fn bytes(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// One call: what chance or the test ordered, else what it does.
fn call<T>(
    world: &Shared,
    call: Call,
    act: impl FnOnce(&mut World) -> io::Result<T>,
) -> io::Result<T> {
    // Others may go on meanwhile, as while a real system call lasts.
    crate::sync::pause();
    let mut world = world.lock();
    match world.turn(call) {
        Turn::Go => act(&mut world),
        Turn::Fail(error) => Err(error),
    }
}

fn needs_the_journal(world: &World) -> io::Result<()> {
    match world.unwritten {
        Unwritten::Forgotten => Err(rustix::io::Errno::ROFS.into()),
        Unwritten::Written | Unwritten::Left => Ok(()),
    }
}

/// The directory as one process has it open.
#[derive(Debug)]
pub(super) struct SimDirectory {
    world: Shared,
    path: PathBuf,
    holder: u64,
}

impl SimDirectory {
    pub(super) fn new(disk: &SimDisk) -> SimDirectory {
        let mut world = disk.world.lock();
        let holder = world.next_holder;
        world.next_holder += 1;
        SimDirectory { world: Arc::clone(&disk.world), path: PathBuf::from("sim"), holder }
    }

    fn release(&self) {
        let mut world = self.world.lock();
        if world.lock == Some(self.holder) {
            world.lock = None;
        }
    }

    fn handle(&self, world: &mut World, inode: usize, access: Access) -> io::Result<Arc<dyn File>> {
        world.inode(inode)?.handles += 1;
        Ok(Arc::new(SimFile {
            world: Arc::clone(&self.world),
            inode,
            access,
            maps: Mutex::default(),
        }))
    }
}

impl Drop for SimDirectory {
    fn drop(&mut self) {
        // A lock dies with its holder.
        self.release();
    }
}

impl Directory for SimDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        call(&self.world, Call::Names, |world| Ok(world.names()))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        call(&self.world, Call::Open, |world| {
            let inode = world.lookup(name)?;
            self.handle(world, inode, access)
        })
    }

    /// Not a [`call`]: it changes nothing, and where it fails the log goes on. A power cut here would let a log whose power is
    /// gone acknowledge what it has just synced.
    fn status(&self, name: &str) -> io::Result<Status> {
        let mut world = self.world.lock();
        let inode = world.lookup(name)?;
        world.status(inode)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        call(&self.world, Call::Create, |world| {
            needs_the_journal(world)?;
            let inode = world.create(name)?;
            self.handle(world, inode, Access::ReadWrite)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        call(&self.world, Call::Rename, |world| {
            needs_the_journal(world)?;
            world.rename(from, to)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        call(&self.world, Call::Remove, |world| {
            needs_the_journal(world)?;
            world.remove(name)
        })
    }

    fn sync(&self) -> io::Result<()> {
        call(&self.world, Call::SyncDirectory, |world| {
            world.sync_names();
            Ok(())
        })
    }

    fn sync_own_name(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        call(&self.world, Call::Lock, |world| {
            let free = world.lock.is_none_or(|holder| holder == self.holder);
            if free {
                world.lock = Some(self.holder);
            }
            Ok(free)
        })
    }

    fn unlock(&self) -> io::Result<()> {
        self.release();
        Ok(())
    }

    fn stores_are_safe(&self) -> bool {
        call(&self.world, Call::Status, |world| Ok(world.stores_are_safe)).unwrap_or(false)
    }

    fn has_journal(&self) -> bool {
        true
    }

    fn allocates_by_zeros(&self) -> bool {
        false
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        call(&self.world, Call::Random, |world| {
            let (high, low) = (world.dice.roll(), world.dice.roll());
            Ok(((u128::from(high) << 64) | u128::from(low)).to_le_bytes())
        })
    }
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    world: Shared,
    inode: usize,
    access: Access,
    /// Mappings made through it, as long as anyone holds them.
    maps: Mutex<Vec<std::sync::Weak<Region>>>,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mapped = self.maps.lock().len();
        let mut world = self.world.lock();
        // A segment holds its file and its mapping together: with the file the mapping goes.
        if mapped > 0 {
            world.look();
        }
        if let Ok(inode) = world.inode(self.inode) {
            inode.handles -= 1;
            if mapped > 0 {
                inode.unmap(mapped);
            }
        }
        world.forget_unused();
    }
}

impl SimFile {
    fn sync_range(&self, range: Range<usize>) -> io::Result<()> {
        crate::sync::pause();
        let mut world = self.world.lock();
        let synced = match world.turn(Call::Sync) {
            Turn::Go => {
                let becomes = world.unwritten;
                world.inode(self.inode)?.sync_range(range, becomes)
            }
            Turn::Fail(error) if world.off => Err(error),
            Turn::Fail(error) => {
                let mut chance = super::choice::Chance::new(world.dice.roll());
                world.inode(self.inode)?.fail_sync(&range, &mut chance)?;
                Err(error)
            }
        };
        drop(world);
        crate::sync::pause();
        synced
    }
}

impl File for SimFile {
    fn status(&self) -> io::Result<Status> {
        call(&self.world, Call::Status, |world| world.status(self.inode))
    }

    fn blocks(&self, from: u64) -> io::Result<Blocks> {
        call(&self.world, Call::Blocks, |world| {
            let (allocated, written) = world.inode(self.inode)?.blocks(bytes(from)?);
            Ok(Blocks { allocated: allocated as u64, written: written as u64 })
        })
    }

    /// It does not tell.
    fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        Some(offset..u64::MAX)
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        call(&self.world, Call::Read, |world| {
            let inode = world.inode(self.inode)?;
            match self.access {
                Access::Direct => inode.read_direct(to, bytes(offset)?),
                // What was written directly is in no one's way: to a test it is as if it had gone through the cache.
                Access::Read | Access::ReadWrite | Access::DirectWrite => {
                    inode.read(to, bytes(offset)?)
                }
            }
        })
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        crate::sync::pause();
        let at = bytes(offset)?;
        let mut world = self.world.lock();
        let was_off = world.off;
        match world.turn(Call::Write) {
            // Only the write that the power cut met gets half-way.
            Turn::Fail(error) if was_off => Err(error),
            Turn::Go => {
                let missing = world.inode(self.inode)?.pages_missing(&(at..at + from.len()));
                world.need(missing)?;
                let becomes = world.unwritten;
                let inode = world.inode(self.inode)?;
                if self.access == Access::DirectWrite {
                    inode.mark_written(&(at..at + from.len()), becomes)?;
                }
                inode.write(from, at)
            }
            Turn::Fail(error) => {
                // It failed half-way, between two pages.
                let pages = ((at + from.len()).div_ceil(PAGE) - at / PAGE).max(1);
                let done = match world.written.take() {
                    Some(written) => usize::try_from(written).unwrap_or(pages).min(pages - 1),
                    None => usize::try_from(world.dice.roll() % pages as u64).unwrap_or(0),
                };
                let part = &from[..((at / PAGE + done) * PAGE).saturating_sub(at)];
                let missing = world.inode(self.inode)?.pages_missing(&(at..at + part.len()));
                if world.need(missing).is_ok() {
                    world.inode(self.inode)?.write(part, at)?;
                }
                Err(error)
            }
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        self.write_at(&vec![0; bytes(range.end - range.start)?], range.start)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        call(&self.world, Call::Allocate, |world| {
            needs_the_journal(world)?;
            let len = bytes(len)?;
            let missing = world.inode(self.inode)?.pages_missing(&(0..len));
            world.need(missing)?;
            world.inode(self.inode)?.allocate(len)
        })
    }

    fn probe_journal(&self) -> io::Result<()> {
        call(&self.world, Call::Blocks, |world| needs_the_journal(world))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }

    fn sync_mapped(&self, _region: &Region, offset: u64, len: u64) -> io::Result<()> {
        // msync of a range ends in the file system's fsync of that range, and may leave the other pages as they are.
        self.sync_range(bytes(offset)?..bytes(offset.saturating_add(len))?)
    }

    fn populate(&self, _region: &Region, _offset: u64, _len: u64) -> io::Result<()> {
        call(&self.world, Call::Populate, |_| Ok(()))
    }

    fn drop_cache(&self) -> io::Result<()> {
        call(&self.world, Call::DropCache, |world| {
            world.inode(self.inode)?.drop_cache();
            Ok(())
        })
    }

    fn passes_cache(&self) -> bool {
        self.access == Access::Direct
    }

    fn forget(&self, _region: &Region, _range: Range<u64>) {
        // What is clean is on the disk, and what is not stays: no one can tell.
    }

    fn read_ahead(&self, _on: bool) {}

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        call(&self.world, Call::PunchHole, |world| {
            world.inode(self.inode)?.punch(bytes(range.start)?..bytes(range.end)?)
        })
    }

    fn map(&self, len: u64, writable: bool, published: u64) -> io::Result<Writer> {
        call(&self.world, Call::Map, |world| {
            let inode = world.inode(self.inode)?;
            let len = bytes(len)?;
            if inode.len() < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut options = MmapOptions::new();
            options.len(len);
            let memory = inode.map(writable)?;
            let map: MmapRaw = if writable {
                options.map_raw(memory)?
            } else {
                options.map_raw_read_only(memory)?
            };
            let writer = Region::share(map, writable, published);
            self.maps.lock().push(Arc::downgrade(writer.region()));
            Ok(writer)
        })
    }

    fn wait(&self, _: &Region, _: u64, _: [u8; 4], at_most: Duration) -> io::Result<()> {
        // For no reason, but not at once.
        crate::sync::thread::sleep(at_most.min(Duration::from_millis(1)));
        Ok(())
    }

    fn wake(&self, _: &Region, _: u64) -> io::Result<()> {
        Ok(())
    }
}
