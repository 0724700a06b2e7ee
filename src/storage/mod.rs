//! The seam between the engine and the operating system: a directory, its files, their mappings.
//!
//! All system calls and all `unsafe` of the crate are below this module. The engine holds a
//! [`Directory`] and its [`File`]s as trait objects and calls them for what happens once per group of
//! records or more rarely; an append goes through a [`Writer`] into memory that the
//! implementation handed out, with no call through a trait. So another implementation (a simulated
//! disk) can stand here and the append path does not know.
//!
//! What an implementation promises, and what the engine relies on:
//!
//! - Written bytes (stored or `write_at`) may reach the disk at any time, in any order, or not, until
//!   [`File::sync`] of that file has returned Ok; they are then durable.
//! - A name that was created, renamed or removed is durable once [`Directory::sync`] has returned Ok.
//! - After a failed sync nothing is known of the unsynced bytes, and a later sync that succeeds
//!   says nothing about them. The engine never retries one.
//! - A write, a mapping, or a store in an allocated and written file may fail by an error, never by a
//!   signal, where [`Directory::stores_are_safe`] says so.

#![allow(unsafe_code, reason = "the one module that talks to the operating system")]

mod disk;
mod extents;
mod file;
mod mapped;
mod process;
mod region;
mod safety;
#[cfg(feature = "sim")]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

pub(crate) use disk::{Disk, create_directory};
pub(crate) use mapped::{Mapped, forget, is_mapped};
pub(crate) use process::Process;
pub(crate) use region::{Region, Writer};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
    /// Reads what is on the disk, past the page cache, where the file system can; only at
    /// multiples of [`DIRECT_ALIGN`], into memory aligned so.
    Direct,
    /// The same for writes.
    DirectWrite,
}

/// Alignment of direct reads and writes: no disk in use has larger sectors.
pub(crate) const DIRECT_ALIGN: usize = 4096;

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) len: u64,
    /// Bytes on the disk, in holes none.
    pub(crate) held: u64,
    /// How many names it has, in whatever directory; none once all are removed.
    pub(crate) links: u64,
    /// Which file it is, under whatever name: device and inode.
    pub(crate) id: FileId,
    /// When it was last written to, by the system's clock, where there is one.
    pub(crate) modified: Option<SystemTime>,
}

/// Up to where, from an offset on, a file has no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Every byte has a block on the disk, so that writing needs no more space.
    pub(crate) allocated: u64,
    /// And it was written to: what is allocated alone reads as zero, whatever a page of it in the cache holds.
    pub(crate) written: u64,
}

/// Whether it says something of who opened a file, and nothing of the file: another user, or at another time, may read it.
pub(crate) fn is_of_the_caller(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied || is_shortage(error)
}

/// Whether the system had nothing to give at that moment: no descriptor, no memory, no mapping.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| short.contains(&code))
}

/// A file of this system, for as long as anyone has it open or mapped.
pub(crate) type FileId = (u64, u64);

/// The log's directory. Names are plain file names in it; symbolic links are never followed.
pub(crate) trait Directory: Send + Sync + Debug {
    fn path(&self) -> &Path;
    /// All names in it.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a regular file; anything else, a link too, is `InvalidData`.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;
    /// What is known of the file of this name, which is not opened.
    fn status(&self, name: &str) -> io::Result<Status>;
    /// Creates a file of mode 0600 that does not exist yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes the directory's own name in its parent durable, if this process may.
    fn sync_own_name(&self) -> io::Result<()>;
    /// Takes the writer's lock, which dies with its holder. False: someone else has it.
    fn try_lock(&self) -> io::Result<bool>;
    fn unlock(&self) -> io::Result<()>;
    /// Whether a store into an allocated, written file can never need space (design fact 11). Where that is not known: no.
    fn stores_are_safe(&self) -> bool;
    /// Whether a sync of blocks that were only allocated waits for a journal too. Where that is not known: yes.
    fn has_journal(&self) -> bool;
    /// Whether space had to be taken by writing zeros, since `fallocate` is not to be had here.
    fn allocates_by_zeros(&self) -> bool;
    /// Unpredictable bytes, for ids and salts.
    fn random(&self) -> io::Result<[u8; 16]>;
}

/// An open file. One for a segment's whole time in service: the kernel reports a write-back error once
/// to each open file.
pub(crate) trait File: Send + Sync + Debug {
    fn status(&self) -> io::Result<Status>;
    /// What the file system's map of the file says from `from` on. What is dirty may count or not.
    fn blocks(&self, from: u64) -> io::Result<Blocks>;
    /// The first bytes at `offset` or behind it that may not read as zero: where that is not known, all of them. None: there
    /// are none. What is only allocated counts as zero, if the page cache holds nothing of it; so that this stays, reads
    /// through this handle bring in nothing that lies behind them from now on.
    fn next_data(&self, offset: u64) -> Option<Range<u64>>;
    /// Reads until `to` is full or the file ends; the number of bytes read.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes zeros, by one call if it is not much: the page cache may hold them in one folio.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()>;
    /// Allocates blocks for the first `len` bytes, which no one writes to meanwhile: where the system cannot do it, by writing
    /// zeros over what reads as zero.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Behind a sync: an error if the file system takes no changes any more, since its journal was aborted. Where the
    /// sync may have written less than a whole commit of the journal, writes one.
    fn probe_journal(&self) -> io::Result<()>;
    /// fdatasync: everything written is durable on Ok.
    fn sync(&self) -> io::Result<()>;
    /// msync with MS_SYNC: what was stored in these bytes of the mapping is durable on Ok.
    fn sync_mapped(&self, region: &Region, offset: u64, len: u64) -> io::Result<()>;
    /// Reads these bytes of the mapping in, so that touching them cannot be a signal. `Unsupported` if the system
    /// has no such call.
    fn populate(&self, region: &Region, offset: u64, len: u64) -> io::Result<()>;
    /// Lets the page cache forget the file's clean pages. Advice too, and known to have been taken nowhere: it is for file
    /// systems without [direct access](File::passes_cache).
    fn drop_cache(&self) -> io::Result<()>;
    /// Whether this file, opened for direct access, has it: what is read is what the disk has.
    fn passes_cache(&self) -> bool;
    /// Advises the page cache to forget these clean pages, of the mapping too; what is dirty stays, as does what a program
    /// has locked in memory.
    fn forget(&self, region: &Region, range: Range<u64>);
    /// Advises whether reads come in with what follows, in large folios, or page by page, so that a later store does not
    /// dirty a large folio (design fact 1).
    fn read_ahead(&self, on: bool);
    /// Gives the blocks of `range` back to the file system; they read as zero.
    fn punch_hole(&self, range: Range<u64>) -> io::Result<()>;
    /// Maps the first `len` bytes. Readers see those below `published`.
    fn map(&self, len: u64, writable: bool, published: u64) -> io::Result<Writer>;
    /// Sleeps until someone, in whatever process, [`wake`](File::wake)s who waits for these four bytes of the mapping, for
    /// `at_most` so long; not at all if they are not as they were `seen`. May return for no reason.
    fn wait(
        &self,
        region: &Region,
        offset: u64,
        seen: [u8; 4],
        at_most: Duration,
    ) -> io::Result<()>;
    /// Wakes all who wait for these four bytes of the file.
    fn wake(&self, region: &Region, offset: u64) -> io::Result<()>;
}
