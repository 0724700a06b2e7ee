//! A log on a simulated disk.

use super::{Log, recover};
use crate::error::Result;
use crate::options::Options;
use crate::storage::sim::SimDisk;

impl Options {
    /// Opens the log on a simulated disk, as [`open`](Options::open) does in a directory, with the same errors.
    /// Needs the feature `sim`.
    ///
    /// ```
    /// let disk = duralog::sim::SimDisk::new(1);
    /// let log = duralog::Options::new().segment_size(16 << 10).open_on(&disk)?;
    /// log.append_durable(b"hello")?;
    /// # Ok::<(), duralog::Error>(())
    /// ```
    pub fn open_on(self, disk: &SimDisk) -> Result<Log> {
        let (directory, background) = disk.directory();
        let (engine, recovery) = recover::open_in(directory, self)?;
        Log::start(engine, recovery, background)
    }
}

impl Log {
    /// One round of what the background thread does: syncs and seals full segments, prepares the next one,
    /// gives back what no reader holds any more. For a log on a simulated disk, which has no such
    /// thread unless asked; harmless beside one. Needs the feature `sim`.
    ///
    /// # Errors
    ///
    /// Those of the disk; all but `Full` poison the log.
    ///
    /// ```
    /// let disk = duralog::sim::SimDisk::new(1);
    /// let log = duralog::Options::new().segment_size(16 << 10).open_on(&disk)?;
    /// log.step()?;
    /// # Ok::<(), duralog::Error>(())
    /// ```
    pub fn step(&self) -> Result<()> {
        self.engine.here()?.step()
    }
}
