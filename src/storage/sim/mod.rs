//! A simulated disk that loses power, fails and rots as a test orders it. Public as [`crate::sim`].

#![allow(
    clippy::indexing_slicing,
    reason = "vectors of the simulation's own, as long as the file that they shadow"
)]

mod choice;
mod fault;
mod handle;
mod inode;
mod pages;
mod world;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use choice::{Chance, Choose, Odometer};
pub use fault::{Call, Fault};
use handle::{Shared, SimDirectory};
use world::World;

/// A disk in memory with one directory on it, for crash tests of the log and of what is built on it.
///
/// It knows of each 512-byte sector of each file what is durable and every content since, and that a dirty
/// page may reach the disk at any time, in any order, or not; that a created, renamed or removed name is
/// durable only once its directory is synced; that a length is not the content; and that a failed sync leaves
/// new bytes in the cache and old ones on the disk. [`crash`](SimDisk::crash) draws one of the states that
/// a power cut now may leave. The mappings of a log on it are real ones, of memory: its appends run
/// the same code as on a real disk.
///
/// A clone is another handle of the same disk. Every choice comes from the seed. A log on it has no
/// background thread, unless [`set_background`](SimDisk::set_background) says so; call
/// [`Log::step`](crate::Log::step) for what that thread would do. Keep segments small, for instance
/// 16 KiB: every call compares what may be stored to with what it was.
///
/// ```
/// use duralog::{Options, sim::SimDisk};
/// let disk = SimDisk::new(7);
/// let options = Options::new().segment_size(16 << 10);
/// let log = options.clone().open_on(&disk)?;
/// let kept = log.append_durable(b"kept")?;
/// log.append(b"perhaps")?;
/// for seed in 0..20 {
///     let log = options.clone().open_on(&disk.crash(seed))?;
///     assert_eq!(log.read(kept)?.payload(), b"kept");
///     assert!(log.replay().count() <= 2);
/// }
/// # Ok::<(), duralog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: Shared,
}

/// What becomes of a block that was only allocated when it is written to. fdatasync succeeds in each case, as ext4 has it.
///
/// ```
/// assert_eq!(duralog::sim::Unwritten::default(), duralog::sim::Unwritten::Written);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwritten {
    /// It is written.
    #[default]
    Written,
    /// It could not be marked as written, and only its map says so; a direct write is told.
    Left,
    /// It was marked, but the journal was aborted: after a crash it is unwritten. Whatever needs the journal fails.
    Forgotten,
}

impl SimDisk {
    /// An empty disk without bounds.
    ///
    /// ```
    /// assert!(duralog::sim::SimDisk::new(1).files().is_empty());
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk { world: Arc::new(Mutex::new(World::new(seed))) }
    }

    /// Room for so many bytes in whole pages of 4096; none: without bounds.
    ///
    /// ```
    /// use duralog::{Options, sim::SimDisk};
    /// let disk = SimDisk::new(1);
    /// disk.set_capacity(Some(8 << 10));
    /// assert!(Options::new().open_on(&disk).unwrap_err().is_full());
    /// ```
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world.lock().capacity = bytes;
    }

    /// Bytes in use, in whole pages: with [`set_capacity`](SimDisk::set_capacity), a disk that is full now.
    ///
    /// ```
    /// let disk = duralog::sim::SimDisk::new(1);
    /// disk.set_capacity(Some(disk.used()));
    /// ```
    #[must_use]
    pub fn used(&self) -> u64 {
        (self.world.lock().used() * pages::PAGE) as u64
    }

    /// Whether a store into an allocated file never needs space; if not, a log writes by `pwrite` unless told
    /// otherwise. Default true, as on ext4.
    ///
    /// ```
    /// duralog::sim::SimDisk::new(1).set_stores_are_safe(false);
    /// ```
    pub fn set_stores_are_safe(&self, safe: bool) {
        self.world.lock().stores_are_safe = safe;
    }

    /// What becomes from now on of a block that was only allocated when it is written to. Default
    /// [`Written`](Unwritten::Written).
    ///
    /// ```
    /// use duralog::{Options, sim::{SimDisk, Unwritten}};
    /// let disk = SimDisk::new(1);
    /// disk.set_unwritten(Unwritten::Left);
    /// assert!(Options::new().open_on(&disk).is_err());
    /// ```
    pub fn set_unwritten(&self, becomes: Unwritten) {
        self.world.lock().unwritten = becomes;
    }

    /// Whether logs opened from now on have their background thread. Default false.
    ///
    /// ```
    /// duralog::sim::SimDisk::new(1).set_background(true);
    /// ```
    pub fn set_background(&self, background: bool) {
        self.world.lock().background = background;
    }

    /// Calls so far; with [`cut_power_at`](SimDisk::cut_power_at) the measure of time.
    ///
    /// ```
    /// assert_eq!(duralog::sim::SimDisk::new(1).calls(), 0);
    /// ```
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world.lock().calls
    }

    /// Calls of this kind so far.
    ///
    /// ```
    /// use duralog::sim::{Call, SimDisk};
    /// assert_eq!(SimDisk::new(1).count(Call::Sync), 0);
    /// ```
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.world.lock().count(call)
    }

    /// The power goes when call `n` (of all kinds, counted from 1) is made: it and every later one
    /// fails, and nothing that is stored afterwards is on the disk or in the cache of it.
    ///
    /// ```
    /// use duralog::{Options, sim::SimDisk};
    /// let disk = SimDisk::new(1);
    /// disk.cut_power_at(9);
    /// assert!(Options::new().open_on(&disk).is_err());
    /// assert!(disk.is_off());
    /// ```
    pub fn cut_power_at(&self, n: u64) {
        self.world.lock().cut_at = Some(n);
    }

    /// The power goes now.
    ///
    /// ```
    /// use duralog::sim::SimDisk;
    /// let disk = SimDisk::new(1);
    /// disk.cut_power();
    /// assert!(disk.is_off());
    /// ```
    pub fn cut_power(&self) {
        let mut world = self.world.lock();
        world.look();
        world.off = true;
    }

    /// Whether the power is gone.
    ///
    /// ```
    /// assert!(!duralog::sim::SimDisk::new(1).is_off());
    /// ```
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.world.lock().off
    }

    /// As after a process was killed where the power was cut: the cache is still there, and so is the disk.
    ///
    /// ```
    /// use duralog::sim::SimDisk;
    /// let disk = SimDisk::new(1);
    /// disk.cut_power();
    /// disk.restart();
    /// assert!(!disk.is_off());
    /// ```
    pub fn restart(&self) {
        let mut world = self.world.lock();
        (world.off, world.cut_at, world.lock) = (false, None, None);
    }

    /// One of the states that a power cut now, or when it was cut, may leave, chosen by `seed`: a disk of
    /// its own, which shares what is the same. This one goes on.
    ///
    /// ```
    /// use duralog::sim::SimDisk;
    /// assert!(SimDisk::new(1).crash(3).files().is_empty());
    /// ```
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        self.crash_by(&mut Chance::new(seed), seed)
    }

    /// Every state that a power cut now may leave, with whole sectors, to `each`; how many there were.
    /// Stops at `limit`: then there are more.
    ///
    /// ```
    /// use duralog::sim::SimDisk;
    /// assert_eq!(SimDisk::new(1).crash_each(10, |state| drop(state)), 1);
    /// ```
    pub fn crash_each(&self, limit: usize, mut each: impl FnMut(SimDisk)) -> usize {
        let mut odometer = Odometer::default();
        for n in 1..=limit {
            each(self.crash_by(&mut odometer, n as u64));
            if !odometer.turn() {
                return n;
            }
        }
        limit
    }

    fn crash_by(&self, choose: &mut dyn Choose, seed: u64) -> SimDisk {
        let mut world = self.world.lock();
        world.look();
        let after = world.after_power_cut(choose, seed ^ 0x5EED);
        SimDisk { world: Arc::new(Mutex::new(after)) }
    }

    /// Lets a call fail.
    ///
    /// ```
    /// use duralog::{Options, sim::{Call, Fault, SimDisk}};
    /// let disk = SimDisk::new(1);
    /// disk.order(Fault::new(Call::Create, 1, 28));
    /// assert!(Options::new().open_on(&disk).unwrap_err().is_full());
    /// ```
    pub fn order(&self, fault: Fault) {
        self.world.lock().order(fault);
    }

    /// Takes all orders back.
    ///
    /// ```
    /// duralog::sim::SimDisk::new(1).mend();
    /// ```
    pub fn mend(&self) {
        self.world.lock().mend();
    }

    /// How many calls have failed by order so far.
    ///
    /// ```
    /// assert_eq!(duralog::sim::SimDisk::new(1).struck(), 0);
    /// ```
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.world.lock().struck
    }

    /// What no correct log does on any disk, in words: stores into a file where it has no block.
    ///
    /// ```
    /// assert!(duralog::sim::SimDisk::new(1).violations().is_empty());
    /// ```
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut world = self.world.lock();
        world.look();
        world.violations.clone()
    }

    /// Names of the files, in order.
    ///
    /// ```
    /// assert!(duralog::sim::SimDisk::new(1).files().is_empty());
    /// ```
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.world.lock().names()
    }

    /// The bytes of a file, as a process sees them.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// ```
    /// assert!(duralog::sim::SimDisk::new(1).bytes("MANIFEST").is_err());
    /// ```
    pub fn bytes(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut world = self.world.lock();
        let number = world.lookup(name)?;
        let inode = world.inode(number)?;
        let mut bytes = vec![0; inode.len()];
        inode.read(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Puts a file with these bytes on the disk, durable, name and all, in place of the one of that name: to
    /// damage a log that no one has open, or to rebuild one.
    ///
    /// # Errors
    ///
    /// The system has no memory or descriptors.
    ///
    /// ```
    /// let disk = duralog::sim::SimDisk::new(1);
    /// disk.put("MANIFEST", b"not one")?;
    /// assert!(duralog::Options::new().open_on(&disk).unwrap_err().is_corrupt());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world.lock();
        let number = match world.lookup(name) {
            Ok(number) => number,
            Err(_) => world.create(name)?,
        };
        world.inode(number)?.replace(bytes);
        world.sync_names();
        Ok(())
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// ```
    /// assert!(duralog::sim::SimDisk::new(1).remove("MANIFEST").is_err());
    /// ```
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        world.remove(name)?;
        world.sync_names();
        Ok(())
    }

    /// The directory, as one process opens it; and whether the log has a background thread.
    pub(crate) fn directory(&self) -> (Box<dyn super::Directory>, bool) {
        (Box::new(SimDirectory::new(self)), self.world.lock().background)
    }
}
