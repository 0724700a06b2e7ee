//! The end of an instance.

use std::sync::Arc;

use super::change::Change;
use super::engine::Engine;
use super::worker::Worker;
use crate::error::{Error, Result};

impl Engine {
    pub(super) fn close_to_appends(&self) -> bool {
        // Under the tail's lock: no append that has begun is still under way afterwards.
        let _tail = self.tail.lock();
        self.health.close()
    }

    pub(super) fn sync_and_record_end(&self, stop_worker: impl FnOnce()) -> Result<()> {
        let synced = self.sync_all();
        stop_worker();
        // Whoever is changing files now finishes first; who comes later finds the log closed.
        let mut upkeep = self.keep_up();
        // Nor may one who syncs still be under way, as one may be when another failure ended the log: it would store
        // into the watermark, which is the next instance's then.
        self.while_leading(|| Ok(None))?;
        if let Some(cause) = self.health.failed() {
            return Err(Error::Poisoned { cause });
        }
        synced?;
        if self.tail.lock().spoiled {
            // Behind a group that could not be written there may be frames of it: the next opening must not go
            // on in this segment, so it is to find the log as after a crash.
            return Ok(());
        }
        // No sync may have looked since someone removed it: a clean end in a file that is not there shuts the log.
        let active = Arc::clone(self.tail.lock().writer.segment());
        active.check_name(&*self.files.directory).map_err(|e| self.health.poison(e))?;
        let change = Change { clean_end: Some(self.end()), ..Default::default() };
        self.write_manifest(&mut upkeep, &change)?;
        // On a full disk that took the reserve, and the next opening needs it: before another program takes the room.
        // The log is closed, whatever becomes of it.
        drop(self.files.fill_some_reserve(&mut upkeep.stock));
        Ok(())
    }

    /// Behind the last sync, before the files are another's: whoever leads must not be under way any more, and no one
    /// comes after. `whole`: all is durable.
    pub(super) fn end_for_good(&self, whole: bool) {
        self.health.end(whole);
        drop(self.while_leading(|| Ok(None)));
    }

    pub(super) fn stop_threads(&self) {
        Worker::stop(self);
        self.health.syncer.stop();
    }

    pub(super) fn unlock(&self) -> Result<()> {
        let path = self.files.directory.path();
        self.files.directory.unlock().map_err(|e| Error::io("flock", path, e))
    }
}
