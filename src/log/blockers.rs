//! Who holds the oldest segment.

use std::time::Duration;

use super::engine::Engine;
use crate::Lsn;
use crate::error::Result;
use crate::log::Log;
use crate::sync::atomic::Ordering;

/// What keeps segments from being given back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// No checkpoint has said that they are not needed.
    Checkpoint,
    /// The consumer of this name has not come so far. It holds back [`Log::checkpoint_to_slowest`] and retention, no
    /// plain checkpoint.
    Consumer(String),
    /// They have not been archived ([`Log::archived_up_to`]).
    Archive,
    /// A [`Record`](crate::Record) or a [`Replay`](crate::Replay) holds their files. A checkpoint takes them out of the log; their
    /// space comes back when the reader lets go, and [`max_bytes`](crate::Options::max_bytes) counts them until then.
    Reader,
}

/// One who holds the oldest segment, from [`Log::blockers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// Who.
    pub holder: Holder,
    /// Where it stands: nothing below is held by it. Of a reader, the start of the oldest segment that it holds.
    pub position: Lsn,
    /// For how long it has stood there, as far as this instance has seen; of a reader, for how long the segment has been out of
    /// the log.
    pub since: Duration,
    /// Bytes of the sealed segments' files that it holds, also if others hold them too.
    pub bytes: u64,
}

impl Log {
    /// Who holds the oldest segment, each with all that it holds; empty if only the active segment is left, which stays.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`](crate::Error::Forked).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// log.roll()?;
    /// log.consumer("mailer")?;
    /// for blocker in log.blockers()? {
    ///     println!("{:?} at {}: {} bytes", blocker.holder, blocker.position, blocker.bytes);
    /// }
    /// # assert_eq!(log.blockers()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blockers(&self) -> Result<Vec<Blocker>> {
        Ok(self.engine.here()?.blockers())
    }
}

impl Engine {
    fn blockers(&self) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        let (retired, checkpointed) = {
            let shown = self.shown.lock();
            (shown.retired.clone(), shown.checkpointed)
        };
        let durable = self.durable();
        let out = retired.into_iter().filter(|slot| slot.is_pinned());
        // Of those in the log what a reader holds counts where that is the oldest. Others than sealed ones the engine holds too.
        let read = self.catalog.oldest().take_while(|slot| slot.is_loose() && slot.is_pinned());
        let held: Vec<_> = out.chain(read).collect();
        if let Some(oldest) = held.first() {
            blockers.push(Blocker {
                holder: Holder::Reader,
                position: Lsn::new(oldest.start()),
                since: oldest.retired_for(),
                bytes: held.iter().map(|slot| slot.identity().size).sum(),
            });
        }
        let (oldest_end, bytes) = self.catalog.ended();
        let Some(oldest_end) = oldest_end else { return blockers };
        let mut add = |holder, position: u64, since| {
            // Who holds the oldest holds all of them.
            if position < oldest_end {
                blockers.push(Blocker { holder, position: Lsn::new(position), since, bytes });
            }
        };
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        add(Holder::Checkpoint, checkpoint, checkpointed.elapsed());
        let tail = self.tail.lock();
        // As a checkpoint asks: what is not durable lets go of nothing yet.
        let mut positions = std::collections::BTreeMap::new();
        for (name, position) in tail.notes.positions(durable) {
            let least = positions.entry(name).or_insert(position);
            *least = position.min(*least);
        }
        for (name, position) in positions {
            let since = tail.notes.since(&name).elapsed();
            add(Holder::Consumer(name), position, since);
        }
        if let Some(archived) = tail.notes.as_of(durable).archived {
            add(Holder::Archive, archived, tail.notes.archived_since().elapsed());
        }
        blockers
    }
}
