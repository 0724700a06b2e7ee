//! A manifest made anew from the headers of the segments.

use std::path::Path;

use super::plan::{self, Ends, Planned, beyond_unseen, open};
use super::walk::{Step, Walk};
use super::{Doubt, Found, Report, Salvage};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::notes::Notes;
use crate::inspect::open_directory;
use crate::manifest;
use crate::segment::file_name;
use crate::storage::{Access, Directory, Disk, create_directory};

/// Copied at once.
const CHUNK: usize = 1 << 20;

impl Salvage {
    /// Copies the files of the log in `dir`, whose manifest is lost or damaged, into the new directory `into`, and makes the
    /// manifest anew, from the headers and the frames of the segments: every LSN is as it was. Durable on Ok; the log there
    /// is like one after a crash. `dir` is only read.
    ///
    /// None, and nothing is made, if that would be no whole log: the manifest is there, or something else is missing,
    /// damaged or in doubt; or a crash, a cut or a reset lies in between, so that a segment does not say itself where it
    /// ends. Then copy what the salvage gives.
    ///
    /// What no file tells is lost with the manifest: the checkpoint, and a cut behind which nothing was appended, so that
    /// records may be there again of which [`checkpoint`](crate::Log::checkpoint) or
    /// [`truncate_after`](crate::Log::truncate_after) had let go; consumers, metadata and an archive pin that were last
    /// noted in segments that are gone; and segments that are gone themselves, at the end too: so the log goes on far
    /// beyond all that is known (2^40).
    ///
    /// # Errors
    ///
    /// Those of [`open`](Salvage::open); [`Error::NotALog`] if `into` is there and not empty; [`Error::Full`],
    /// [`Error::Io`]: what was copied by then is left behind, and is no log.
    ///
    /// ```
    /// # let temp = tempfile::tempdir()?;
    /// let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    /// let log = duralog::Log::open(&dir)?;
    /// let lsn = log.append_durable(b"one")?;
    /// log.close()?;
    /// std::fs::remove_file(dir.join("MANIFEST"))?;
    ///
    /// assert!(duralog::Log::open(&dir).is_err());
    /// let report = duralog::inspect::Salvage::rebuild(&dir, &new)?.ok_or("more is missing")?;
    /// assert_eq!(report.records, 1);
    /// assert_eq!(duralog::Log::open(&new)?.read(lsn)?.payload(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rebuild(dir: impl AsRef<Path>, into: impl AsRef<Path>) -> Result<Option<Report>> {
        let mut salvage = Salvage::open(dir.as_ref())?;
        if salvage.plan.by_manifest || !salvage.finds_all() {
            return Ok(None);
        }
        let source = open_directory(dir.as_ref())?;
        let Some(manifest) = of_headers(&source, &salvage.notes)? else { return Ok(None) };
        // What could be read a moment ago cannot any more.
        if manifest.0.durable < salvage.report.lsns.end.get() {
            return Ok(None);
        }
        let into = into.as_ref();
        create_directory(into).map_err(|e| Error::io("mkdir", into, e))?;
        let target = open_directory(into)?;
        let names = target.names().map_err(|e| Error::io("readdir", into, e))?;
        if let Some(found) = names.into_iter().next() {
            return Err(Error::NotALog { dir: into.to_owned(), found });
        }
        for (entry, file) in &manifest.1 {
            copy(&source, file, &target, entry)?;
        }
        // As when a log is made: its own name first, and the names of its files before what names them.
        let named = target.sync_own_name();
        named.map_err(|e| Error::io("fsync", into.join(".."), e))?;
        let synced = target.sync();
        synced.map_err(|e| Error::io("fsync", into, e))?;
        manifest::store(&target, &manifest.0, false)?;
        Ok(Some(salvage.report.clone()))
    }

    /// Whether nothing but the manifest is missing, and nothing in doubt.
    fn finds_all(&mut self) -> bool {
        let path = self.disk.path().join(manifest::NAME);
        self.by_ref().all(|found| match found {
            Found::Record(_) => true,
            // It is not in the log.
            Found::Doubtful(doubtful) => doubtful.why == Doubt::Leftover,
            Found::Gap(gap) => gap.lsns.is_empty() && gap.path == path,
        })
    }
}

/// The manifest, and which file holds each segment.
type Rebuilt = (Manifest, Vec<(Entry, String)>);

/// Each segment that holds something is sealed where its frames end: all of them have just been checked. None if
/// none does.
fn of_headers(disk: &Disk, notes: &Notes) -> Result<Option<Rebuilt>> {
    let plan = plan::plan(disk)?;
    let mut files = Vec::new();
    let mut led_to = None;
    for planned in plan.segments.iter().filter(|planned| planned.ends == Ends::Open) {
        let identity = planned.identity;
        let (end, leads_to) = ends(disk, planned);
        // Else it follows a crash or a cut, and where the log ended before that only the manifest knew.
        if !files.is_empty() && led_to != Some(identity.id) {
            return Ok(None);
        }
        led_to = leads_to;
        let (id, base, size, salt) = (identity.id, identity.base, identity.size, identity.salt);
        let entry = Entry { id, base, size, salt, state: State::Sealed, end: base + end };
        files.push((entry, planned.file.clone()));
    }
    let (Some((first, _)), Some((last, _))) = (files.first(), files.last()) else {
        return Ok(None);
    };
    let ids = plan.segments.iter().map(|planned| planned.identity.id);
    let windows = plan.segments.iter().map(|p| p.identity.base + p.identity.size);
    let manifest = Manifest {
        log_id: plan
            .segments
            .iter()
            .find(|p| p.ends == Ends::Open)
            .map_or([0; 16], |p| p.identity.log_id),
        generation: 1,
        checkpoint: if first.base == 0 { 0 } else { first.base + DATA_START },
        durable: last.end,
        next_id: ids.max().unwrap_or(0) + UNSEEN_SEGMENTS,
        next_base: beyond_unseen(windows.max().unwrap_or(0)),
        clean_end: None,
        segments: files.iter().map(|(entry, _)| *entry).collect(),
        notes: notes.clone(),
        noted: last.end,
    };
    Ok(Some((manifest, files)))
}

/// Segments that may have been there and are gone.
const UNSEEN_SEGMENTS: u64 = 1 << 20;

/// Where the frames of a segment end, and to which segment an end frame there leads.
fn ends(disk: &Disk, planned: &Planned) -> (u64, Option<u64>) {
    let mut walk = Walk::new(open(disk, planned).0, planned.identity.size, None);
    let mut end = DATA_START;
    while let Step::Frame(spot) = walk.step() {
        if spot.head.kind == Kind::End {
            return (end, Some(spot.operand));
        }
        end = spot.end();
    }
    (end, None)
}

fn copy(source: &Disk, file: &str, target: &Disk, entry: &Entry) -> Result<()> {
    let (from, to) = (source.path().join(file), target.path().join(file_name(entry.id)));
    let read = |e| Error::io("pread", &from, e);
    let written = |op| {
        let to = &to;
        move |e| Error::io(op, to, e)
    };
    let source = source.open(file, Access::Read).map_err(|e| Error::io("open", &from, e))?;
    let target = target.create(&file_name(entry.id)).map_err(written("open"))?;
    target.allocate(entry.size).map_err(written("fallocate"))?;
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < entry.size {
        let len = source.read_at(&mut chunk, at).map_err(read)?;
        let Some(bytes) = chunk.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
        target.write_at(bytes, at).map_err(written("pwrite"))?;
        at += len as u64;
    }
    target.sync().map_err(written("fdatasync"))
}
