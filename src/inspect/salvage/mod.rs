//! What is sound in a damaged log, and what is missing. Reads only, whatever it meets.

mod deep;
mod found;
mod frames;
mod plan;
mod rebuild;
mod report;
mod source;
mod walk;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use deep::Deep;
pub use found::{Doubt, Doubtful, Found, Gap};
pub use frames::{Frame, FrameKind, Frames, Hole, HoleKind, Piece, SegmentPiece};
pub use report::Report;

use self::plan::{Ends, Plan, Planned, lsns, open};
use self::source::Spot;
use self::walk::{Step, Walk};
use super::{Inspector, Kept, OwnedRecord};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::Kind;
use crate::format::header::Identity;
use crate::format::notes::{Note, Notes};
use crate::segment::file_name;
use crate::storage::{Directory, Disk};

/// An iterator over all that is sound in a damaged log, and over what is missing, in order of LSN.
///
/// It goes up to damage and around it: behind a damaged place the next valid frame is looked for at every multiple
/// of eight. It reads in one pass, whatever the bytes are (a second one where an end has to be found, and of batches), and
/// holds one record in memory. It opens nothing for writing, takes no lock, and never ends early: what cannot be read is a
/// [`Gap`] too. It is made for a log that no one writes to; of one that is open elsewhere what its writer changes meanwhile may
/// show as gaps.
///
/// A [`Found::Record`] was appended, is whole with its batch, and, where there is a manifest, is in the log: those of a
/// sound log are those of a replay. What is not sure of that is a [`Found::Doubtful`], and says why.
/// A checksum has 32 bits and is no signature: who can write the files can forge records.
#[derive(Debug)]
pub struct Salvage {
    disk: Disk,
    plan: Plan,
    /// Of the segment that the walk stands in or goes into next.
    index: usize,
    walk: Option<Walk>,
    /// What comes before the walk goes on.
    gaps: VecDeque<Gap>,
    run: Option<Run>,
    lost: Lost,
    /// The segment that the walk stands in has an end frame.
    led_on: bool,
    /// The log has ended; what is found comes too late.
    ended: bool,
    /// The segments whose marks are known, and what the evidence says was durable.
    surveyed: Range<usize>,
    vouched: u64,
    /// What the notes so far come to.
    notes: Notes,
    report: Report,
}

/// Records to be given, one after the other: one by itself, or a batch.
#[derive(Debug)]
struct Run {
    /// Where the next of them is, and where the last ends.
    at: u64,
    end: u64,
    /// The next, if it has just been checked.
    first: Option<Spot>,
    doubt: Option<Doubt>,
}

/// What went before the frame that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// Nothing that bears on it.
    Nothing,
    /// Its neighbour, which by its length and its kind was a whole record, a mark, or a part.
    Known(Kind),
    /// No one knows what.
    Unknown,
}

impl Inspector {
    /// What is sound in the log, and what is missing: around damage that ends [`records`](Inspector::records). The
    /// manifest is read anew. Where it is lost or damaged, so that there is no inspector: [`Salvage::open`].
    ///
    /// # Errors
    ///
    /// Those of [`Salvage::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// assert_eq!(inspector.salvage()?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn salvage(&self) -> Result<Salvage> {
        Salvage::open(self.disk.path())
    }
}

impl Salvage {
    /// Reads the manifest of the log in `dir`, or, where it is missing, damaged or not the newest, the headers of all
    /// segments; [`Report::by_manifest`] says which.
    ///
    /// # Errors
    ///
    /// [`Error::NoLog`], [`Error::NotALog`], [`Error::UnsupportedFormat`] (the manifest), [`Error::Io`] if
    /// the directory cannot be read, or a segment not by this process: for want of permission, descriptors or memory, which
    /// says nothing of its bytes. Damage is no error here, nor are sectors that cannot be read.
    ///
    /// ```
    /// use duralog::inspect::{Found, Salvage};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// for word in ["one", "two", "three"] {
    ///     log.append(word.as_bytes())?;
    /// }
    /// log.close()?;
    /// // One bit of "two" flips.
    /// let segment = dir.path().join("0000000000000001.seg");
    /// let mut bytes = std::fs::read(&segment)?;
    /// bytes[4096 + 16 + 8] ^= 1;
    /// std::fs::write(&segment, bytes)?;
    ///
    /// let mut salvage = Salvage::open(dir.path())?;
    /// let mut found = Vec::new();
    /// for finding in salvage.by_ref() {
    ///     match finding {
    ///         Found::Record(record) => found.push(record.payload),
    ///         Found::Doubtful(doubtful) => eprintln!("{}", doubtful.why),
    ///         Found::Gap(gap) => eprintln!("{gap}"),
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(found, [&b"one"[..], b"three"]);
    /// assert_eq!(salvage.report().missing_committed, 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Salvage> {
        let path = dir.as_ref();
        let disk = Disk::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NoLog { dir: path.to_owned() },
            _ => Error::io("open", path, e),
        })?;
        let plan = plan::plan(&disk)?;
        Ok(Salvage::over(disk, plan))
    }

    fn over(disk: Disk, mut plan: Plan) -> Salvage {
        let ends = plan.segments.iter().map(|planned| match planned.ends {
            Ends::At(end) => planned.identity.base + end,
            _ => 0,
        });
        let report = Report::new(plan.by_manifest, ends.fold(plan.durable, u64::max));
        Salvage {
            disk,
            gaps: std::mem::take(&mut plan.flaws).into(),
            index: 0,
            walk: None,
            run: None,
            lost: Lost::Nothing,
            led_on: false,
            ended: false,
            surveyed: 0..0,
            vouched: 0,
            notes: plan.notes.clone(),
            plan,
            report,
        }
    }

    /// What has been found so far; once the iterator has ended, all that there is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.append_durable(b"one")?;
    /// let mut salvage = duralog::inspect::Salvage::open(dir.path())?;
    /// salvage.by_ref().for_each(drop);
    /// let report = salvage.report();
    /// assert!(report.by_manifest && report.records == 1 && report.gaps == 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the log keeps beside its records, by the manifest and the notes passed so far; once the iterator has ended, by
    /// all that are left. Where the manifest is lost, what was noted in segments that are gone is lost too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.consumer("mailer")?;
    /// let mut salvage = duralog::inspect::Salvage::open(dir.path())?;
    /// salvage.by_ref().for_each(drop);
    /// assert_eq!(salvage.kept().consumers[0].name, "mailer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept::new(&self.notes, self.report.lsns.end.get())
    }

    /// Where a log that takes the place of this one can begin, so that no position of the one names a record of the other:
    /// beyond all windows that the manifest knows. Where it is lost, 2^40 beyond all that are here: some may be gone.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// # log.append_durable(b"one")?;
    /// assert!(duralog::inspect::Salvage::open(dir.path())?.beyond() > log.end());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn beyond(&self) -> Lsn {
        let windows = self.plan.segments.iter().map(|p| p.identity.base + p.identity.size);
        let end = windows.fold(self.plan.next_base, u64::max);
        Lsn::new(if self.plan.by_manifest { end } else { plan::beyond_unseen(end) })
    }

    /// Bytes of the largest segment; 0 if there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// duralog::Options::new().segment_size(1 << 20).open(dir.path())?;
    /// assert_eq!(duralog::inspect::Salvage::open(dir.path())?.largest_segment(), 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn largest_segment(&self) -> u64 {
        self.plan.segments.iter().map(|planned| planned.identity.size).max().unwrap_or(0)
    }

    fn planned(&self) -> Option<(Identity, Ends)> {
        self.plan.segments.get(self.index).map(|planned| (planned.identity, planned.ends))
    }

    fn path(&self) -> PathBuf {
        let planned = self.plan.segments.get(self.index);
        let dir = self.disk.path();
        planned.map_or_else(|| dir.to_owned(), |planned| dir.join(&planned.file))
    }

    /// The next of the records whose place is known.
    fn give(&mut self) -> Option<(Found, u64)> {
        let (mut run, (identity, ends)) = (self.run.take()?, self.planned()?);
        let walk = self.walk.as_mut()?;
        let spot = run.first.take().or_else(|| walk.again(run.at));
        let given = spot.and_then(|spot| Some((walk.source.payload(&spot)?, spot.end())));
        let Some((payload, end)) = given else {
            // Read well a moment ago.
            let committed = match ends {
                Ends::At(_) => true,
                Ends::Open if !self.ended => self.vouched(run.at) > identity.base + run.at,
                _ => false,
            };
            self.gap(run.at..run.end, committed, "it cannot be read any more".to_owned());
            return None;
        };
        let record = OwnedRecord { lsn: Lsn::new(identity.base + run.at), payload };
        let found = match run.doubt {
            Some(why) => Found::Doubtful(Doubtful { record, why }),
            None => Found::Record(record),
        };
        run.at = end;
        self.run = (run.at < run.end).then_some(run);
        Some((found, identity.base + end))
    }

    fn note(&mut self, offsets: Range<u64>, what: impl Into<String>) {
        let segment = self.planned().map(|(identity, _)| identity.id);
        self.gaps.push_back(Gap::note(self.path(), segment, offsets, what.into()));
    }

    fn gap(&mut self, offsets: Range<u64>, committed: bool, what: String) {
        let Some((identity, _)) = self.planned() else { return };
        let (path, lsns) = (self.path(), lsns(&identity, &offsets));
        self.gaps.push_back(Gap {
            path,
            segment: Some(identity.id),
            offsets,
            lsns,
            committed,
            what,
        });
    }

    /// One piece further. False: this was the end.
    fn advance(&mut self) -> bool {
        let Some((identity, ends)) = self.planned() else { return false };
        let Some(walk) = self.walk.as_mut() else {
            self.enter(&identity, ends);
            return true;
        };
        match walk.step() {
            Step::Frame(spot) => self.pass(&identity, ends, spot),
            Step::Hole(offsets) => self.hole(&identity, ends, offsets),
            Step::End => {
                self.miss_end(ends);
                self.leave();
            }
        }
        true
    }

    fn enter(&mut self, identity: &Identity, ends: Ends) {
        let Some(planned) = self.plan.segments.get(self.index) else { return };
        let (source, len) = open(&self.disk, planned);
        for (offsets, what) in Plan::flaws(&self.disk, planned, &source, len) {
            self.note(offsets, what);
        }
        if !self.plan.by_manifest {
            // Behind a crash the log goes on in another segment.
            self.ended = false;
        }
        if ends == Ends::Unused {
            self.index += 1;
            return;
        }
        let bound = if let Ends::At(end) = ends { Some(end) } else { None };
        self.walk = Some(Walk::new(source, identity.size, bound));
        (self.lost, self.led_on) = (Lost::Nothing, false);
    }

    /// Of a segment in the midst of the log only a manifest, or an end frame, says where it ends.
    fn miss_end(&mut self, ends: Ends) {
        let says = self.led_on || self.plan.by_manifest || ends != Ends::Open;
        if says || self.plan.next_used(self.index).is_none() {
            return;
        }
        let at = self.planned().map_or(0, |(identity, _)| identity.size);
        let what = "it does not say where it ends, and the log goes on: it was ended by a crash or a cut, behind which \
                    records may lie that are not in the log; or its end is lost";
        self.note(at..at, what);
    }

    fn leave(&mut self) {
        self.walk = None;
        self.index += 1;
    }

    fn pass(&mut self, identity: &Identity, ends: Ends, spot: Spot) {
        let lost = std::mem::replace(&mut self.lost, Lost::Nothing);
        match spot.head.kind {
            Kind::Mark => {}
            Kind::Note => self.note_of(identity, ends, &spot),
            Kind::End => {
                self.led_on = true;
                self.follow(identity, ends, &spot);
            }
            Kind::Record | Kind::Part => {
                let Some(walk) = self.walk.as_mut() else { return };
                let (end, whole) = walk.batch(&spot);
                let doubt = match lost {
                    _ if !whole || lost == Lost::Known(Kind::Part) => Some(Doubt::Unfinished),
                    Lost::Unknown if walk.confirms(spot.end()) => Some(Doubt::AfterGap),
                    Lost::Unknown => Some(Doubt::Alone),
                    Lost::Known(_) | Lost::Nothing => None,
                };
                let doubt = match ends {
                    Ends::Leftover => Some(Doubt::Leftover),
                    _ if self.ended => Some(Doubt::BeyondEnd),
                    _ => doubt,
                };
                if !whole && doubt == Some(Doubt::Unfinished) {
                    self.unfinished(identity, ends, spot.offset, end);
                }
                self.run = Some(Run { at: spot.offset, end, first: Some(spot), doubt });
            }
        }
    }

    fn note_of(&mut self, identity: &Identity, ends: Ends, spot: &Spot) {
        let is_in_the_log = ends != Ends::Leftover && !self.ended;
        if !is_in_the_log || identity.base + spot.offset < self.plan.noted {
            return;
        }
        let payload = self.walk.as_mut().and_then(|walk| walk.source.payload(spot));
        if let Some(note) = payload.and_then(|payload| Note::decode(&payload)) {
            self.notes.apply(&note);
        }
    }

    /// A batch has no end, though nothing need be damaged behind it.
    fn unfinished(&mut self, identity: &Identity, ends: Ends, start: u64, end: u64) {
        if matches!(ends, Ends::At(_)) || self.vouched(start) > identity.base + start {
            self.note(end..end, "a batch is not complete");
        } else {
            self.ended = true;
        }
    }

    /// An end frame leads to the next segment.
    fn follow(&mut self, identity: &Identity, ends: Ends, end: &Spot) {
        if ends == Ends::Leftover || self.ended {
            return;
        }
        let next = self.plan.next_in_log(self.index).and_then(|next| self.plan.segments.get(next));
        let next = next.map(|planned| &planned.identity);
        if next.is_some_and(|next| next.id == end.operand) {
            return;
        }
        let what = format!("it leads to segment {}, which is not here", end.operand);
        if self.plan.by_manifest {
            self.note(end.offset..end.end(), what);
            return;
        }
        // A recovery drops the next segment if it held nothing; else its window, and more, is missing.
        let from = identity.base + identity.size;
        let lsns = Lsn::new(from)..Lsn::new(next.map_or(from, |next| next.base));
        let path = self.disk.path().join(file_name(end.operand));
        let what = "it is missing, though an end frame leads to it".to_owned();
        let segment = Some(end.operand);
        self.gaps.push_back(Gap { path, segment, offsets: 0..0, lsns, committed: false, what });
    }

    fn hole(&mut self, identity: &Identity, ends: Ends, offsets: Range<u64>) {
        let Some(walk) = self.walk.as_mut() else { return };
        self.lost = walk.leads(offsets.start, offsets.end).map_or(Lost::Unknown, Lost::Known);
        let more = walk.has_found();
        let what = walk.source.why(&offsets);
        match ends {
            Ends::At(_) => self.gap(offsets, true, what),
            Ends::Leftover | Ends::Unused => {}
            Ends::Open if self.ended => {}
            Ends::Open => {
                let from = identity.base + offsets.start;
                let vouched = self.vouched(offsets.start);
                if vouched <= from {
                    self.ended = true;
                }
                if more {
                    self.gap(offsets, vouched > from, what);
                } else if vouched > from {
                    let until = (vouched - identity.base).min(identity.size);
                    self.gap(offsets.start..until, true, what);
                }
            }
        }
    }

    /// What the evidence says was durable, as it bears on `offset` of this segment, whose end is open: marks beyond, here and in
    /// the segments that the log goes on in.
    fn vouched(&mut self, offset: u64) -> u64 {
        if self.surveyed.contains(&self.index) {
            return self.vouched;
        }
        let start = self.index;
        let (mut index, mut from) = (start, offset);
        let mut vouched = if self.plan.by_manifest { self.plan.durable } else { 0 };
        while let Some(planned) = self.plan.segments.get(index) {
            let (mark, leads_to) = self.marks(planned, std::mem::take(&mut from));
            vouched = vouched.max(mark);
            let Some(next) = self.plan.next_used(index) else {
                // The watermark speaks of the log as it was last.
                vouched = vouched.max(self.plan.durable);
                index += 1;
                break;
            };
            index = next;
            // Without a manifest only an end frame says that it was the same run of the log, and no recovery cut between.
            let id = self.plan.segments.get(next).map(|planned| planned.identity.id);
            if !self.plan.by_manifest && leads_to != id {
                break;
            }
        }
        (self.surveyed, self.vouched) = (start..index, vouched);
        self.report.committed(vouched);
        vouched
    }

    /// The highest durable LSN of a mark from `offset` of a segment on, and the id that its end frame names.
    fn marks(&self, planned: &Planned, offset: u64) -> (u64, Option<u64>) {
        if planned.ends != Ends::Open {
            return (0, None);
        }
        let (source, _) = open(&self.disk, planned);
        let mut walk = Walk::new(source, planned.identity.size, None).from(offset);
        let (mut highest, mut leads_to) = (0, None);
        loop {
            match walk.step() {
                Step::Frame(spot) if spot.head.kind == Kind::Mark => {
                    highest = highest.max(spot.operand);
                }
                Step::Frame(spot) if spot.head.kind == Kind::End => leads_to = Some(spot.operand),
                Step::Frame(_) | Step::Hole(_) => {}
                Step::End => return (highest, leads_to),
            }
        }
    }
}

impl Iterator for Salvage {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let found = match self.gaps.pop_front() {
                Some(gap) => Some((Found::Gap(gap), 0)),
                None => self.give(),
            };
            if let Some((found, end)) = found {
                self.report.count(&found, end);
                return Some(found);
            }
            if self.gaps.is_empty() && !self.advance() {
                return None;
            }
        }
    }
}

impl std::iter::FusedIterator for Salvage {}
