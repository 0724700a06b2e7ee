//! Everything, by several threads, and on behind damage: [`Deep`].

use std::collections::VecDeque;
use std::num::NonZero;

use parking_lot::Mutex;

use super::plan::{self, Plan, Planned};
use super::{Found, Gap, Salvage};
use crate::error::{Error, Result};
use crate::format::manifest::{Manifest, State};
use crate::inspect::{Inspector, RETRIES, Verified, open_directory, view};
use crate::progress::Progress;

/// How much is read between two calls of who wants to be told.
const PIECE: u64 = 8 << 20;

/// What a deep verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deep {
    /// What is sound.
    pub verified: Verified,
    /// What is not, in order; empty if the log is sound.
    pub damage: Vec<Gap>,
}

/// What came of one segment.
#[derive(Default)]
struct Part {
    base: u64,
    records: u64,
    bytes: u64,
    damage: Vec<Gap>,
}

impl Inspector {
    /// Reads everything as [`verify`](Inspector::verify) does, with up to `threads` at once, each in a segment of its own,
    /// and goes on behind damage: all there is of it in sealed segments is found, and the first in what is not sealed,
    /// which the calling thread reads. `told` hears how far it is, each 8 MiB or so, from one thread at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory or what is not sealed cannot be read, or a segment not by this process (as
    /// [`Salvage::open`](super::Salvage::open) says), those of [`open`](Inspector::open), and
    /// [`Error::Gone`] if a running writer takes segments away faster than they are read. Damage is no error here.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// # log.append_durable(b"one")?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// let found = inspector.verify_deep(2.try_into()?, |at| eprintln!("{} bytes", at.bytes))?;
    /// assert_eq!((found.verified.records, found.damage.len()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify_deep(
        &self,
        threads: NonZero<usize>,
        told: impl Fn(&Progress) + Sync,
    ) -> Result<Deep> {
        for _ in 0..RETRIES {
            match self.deep_once(threads, &told) {
                Err(Error::Gone { .. }) => {}
                deep => return deep,
            }
        }
        self.deep_once(threads, &told)
    }

    fn deep_once(
        &self,
        threads: NonZero<usize>,
        told: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Deep> {
        let manifest = view::newest(&*self.disk)?;
        let plan = plan::by_the_manifest(&open_directory(self.disk.path())?, &manifest)?;
        let count = manifest.segments.partition_point(|entry| entry.state == State::Sealed);
        let (mut sealed, begin) = (VecDeque::from(plan.segments), view::base(&manifest, count));
        sealed.retain(|planned| planned.is_in_log() && planned.identity.base < begin);
        let at_once = threads.get().min(sealed.len());
        let gauge = Gauge::new(&manifest, told);
        let (queue, parts) = (Mutex::new(sealed), Mutex::new(Vec::new()));
        let read_sealed = || {
            while let Some(planned) = { queue.lock().pop_front() } {
                let part = self.read_sealed(&manifest, planned, &gauge);
                parts.lock().push(part);
            }
        };
        let (mut verified, failed) = std::thread::scope(|scope| {
            for _ in 1..at_once {
                scope.spawn(read_sealed);
            }
            let mut meter = gauge.from(begin);
            let open = self.verify_from(begin, |lsn| meter.is_at(lsn));
            read_sealed();
            open
        })?;
        let mut parts = parts.into_inner().into_iter().collect::<Result<Vec<Part>>>()?;
        parts.sort_by_key(|part| part.base);
        let mut damage = Vec::new();
        for part in parts {
            verified.records += part.records;
            verified.bytes += part.bytes;
            damage.extend(part.damage);
        }
        match failed {
            // A header is told of with its segment.
            Some(Error::Corrupt(at)) if damage.iter().any(|gap| gap.path == at.path) => {}
            Some(Error::Corrupt(at)) => damage.push(Gap::of(*at)),
            Some(error) => return Err(error),
            None => {}
        }
        gauge.end();
        Ok(Deep { verified, damage })
    }

    fn read_sealed(&self, view: &Manifest, planned: Planned, gauge: &Gauge<'_>) -> Result<Part> {
        let identity = planned.identity;
        let mut part = Part { base: identity.base, ..Part::default() };
        let disk = open_directory(self.disk.path())?;
        let end = planned.end();
        let mut meter = gauge.from(identity.base);
        for found in Salvage::over(disk, Plan::of(planned)) {
            match found {
                Found::Record(record) => {
                    part.records += 1;
                    part.bytes += record.payload.len() as u64;
                    meter.is_at(record.lsn.get());
                }
                Found::Gap(gap) => part.damage.push(gap),
                // The gap before it tells.
                Found::Doubtful(_) => {}
            }
        }
        meter.leaves(end);
        if !part.damage.is_empty() {
            // What a running writer has let go of since is no damage.
            let now = view::newest(&*self.disk)?;
            let entry = view.segments.iter().find(|entry| entry.id == identity.id);
            if entry.is_some_and(|entry| !view::names(&now, view.log_id, entry)) {
                part.damage.clear();
            }
        }
        Ok(part)
    }
}

/// How far all threads are together.
struct Gauge<'a> {
    at: Mutex<Progress>,
    told: &'a (dyn Fn(&Progress) + Sync),
}

impl<'a> Gauge<'a> {
    fn new(manifest: &Manifest, told: &'a (dyn Fn(&Progress) + Sync)) -> Gauge<'a> {
        let lengths = manifest.segments.iter().map(|entry| match entry.state {
            State::Sealed => entry.end - entry.base,
            State::Active | State::Ready => entry.size,
        });
        let mut at = Progress::default();
        (at.bytes_total, at.segments_total) = (lengths.sum(), manifest.segments.len() as u64);
        told(&at);
        Gauge { at: Mutex::new(at), told }
    }

    fn add(&self, bytes: u64, segments: u64) {
        let mut at = self.at.lock();
        // A running writer goes on meanwhile.
        at.bytes = at.bytes.saturating_add(bytes).min(at.bytes_total);
        at.segments += segments;
        (self.told)(&at);
    }

    /// For one thread that begins to read there.
    fn from(&self, lsn: u64) -> Meter<'_> {
        Meter { gauge: self, told: lsn }
    }

    fn end(self) {
        let mut at = self.at.into_inner();
        (at.bytes, at.segments) = (at.bytes_total, at.segments_total);
        (self.told)(&at);
    }
}

struct Meter<'a> {
    gauge: &'a Gauge<'a>,
    /// Up to here it has been told.
    told: u64,
}

impl Meter<'_> {
    fn is_at(&mut self, lsn: u64) {
        if lsn.saturating_sub(self.told) >= PIECE {
            self.gauge.add(lsn - self.told, 0);
            self.told = lsn;
        }
    }

    fn leaves(self, end: u64) {
        self.gauge.add(end.saturating_sub(self.told), 1);
    }
}
