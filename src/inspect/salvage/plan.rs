//! Which files hold which segments: by the manifest, or, where it is lost, by the segments' own headers.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use super::Gap;
use super::source::Source;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::header::{Identity, LEN, Refusal, SEGMENT_MAGIC, SPARE_MAGIC};
use crate::format::manifest::Manifest;
use crate::format::notes::Notes;
use crate::format::{DATA_START, MAX_LSN, MAX_SEGMENT_SIZE, watermark::highest};
use crate::inspect::view;
use crate::segment::verdict::Says;
use crate::segment::{file_name, id_of};
use crate::storage::{Access, Directory, Disk, is_of_the_caller};
use crate::{manifest, stale, walk, watermark};

/// What is known of where a segment's records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// At this offset.
    At(u64),
    /// It is to be found.
    Open,
    /// Nothing was ever appended: it is ready, and the log was closed.
    Unused,
    /// It is not known to be in the log: nothing can be missing.
    Leftover,
}

/// A segment to walk.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) identity: Identity,
    /// The file that holds it.
    pub(super) file: String,
    pub(super) ends: Ends,
}

/// Beyond all windows that were ever used, as far as that can be known where those that are here end at `end`.
pub(super) fn beyond_unseen(end: u64) -> u64 {
    end.max((end + UNSEEN).min(LAST / DATA_START * DATA_START))
}

impl Planned {
    pub(super) fn is_in_log(&self) -> bool {
        self.ends != Ends::Leftover
    }

    /// Where its records end, as far as that is known.
    pub(super) fn end(&self) -> u64 {
        self.identity.base + if let Ends::At(end) = self.ends { end } else { self.identity.size }
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) by_manifest: bool,
    /// In order of their windows.
    pub(super) segments: Vec<Planned>,
    /// Everything below was durable, by the manifest or the watermark.
    pub(super) durable: u64,
    /// What is wrong with files of which no segment is planned.
    pub(super) flaws: Vec<Gap>,
    /// What the manifest keeps, and the LSN from which on notes come on top.
    pub(super) notes: Notes,
    pub(super) noted: u64,
    /// Where the manifest would put the next window.
    pub(super) next_base: u64,
}

/// Where a manifest is lost, segments may be gone that only it named: so far beyond those that are here none of them was.
const UNSEEN: u64 = 1 << 40;
/// As far as a log may go on (`Manifest::check`), with some windows left.
const LAST: u64 = MAX_LSN - 4 * MAX_SEGMENT_SIZE;

/// The first bytes of each segment file.
type Headers = BTreeMap<String, Result<Identity, String>>;

pub(super) fn plan(disk: &Disk) -> Result<Plan> {
    let newest = view::newest(disk);
    let headers = headers(disk)?;
    let why = match newest {
        Ok(manifest) => match stale::why_old(disk, &manifest, headers.keys().map(String::as_str)) {
            None => return Ok(by_manifest(disk, &manifest, &headers, Vec::new())),
            Some(why) => why,
        },
        Err(Error::Corrupt(damage)) => damage.what,
        // What cannot be read is lost too; if that is the watermark, the manifest still holds.
        Err(Error::Io { op: "pread", path, source }) if !is_of_the_caller(&source) => {
            let what = format!("it cannot be read: {source}");
            if let Some(manifest) = manifest_alone(disk) {
                let note = Gap::note(path, None, 0..0, what);
                return Ok(by_manifest(disk, &manifest, &headers, vec![note]));
            }
            what
        }
        Err(error) => return Err(error),
    };
    let note = Gap::note(disk.path().join(manifest::NAME), None, 0..0, why);
    Ok(by_headers(disk, headers, note))
}

/// By a manifest that was found sound.
pub(super) fn by_the_manifest(disk: &Disk, manifest: &Manifest) -> Result<Plan> {
    Ok(by_manifest(disk, manifest, &headers(disk)?, Vec::new()))
}

fn headers(disk: &Disk) -> Result<Headers> {
    let names = disk.names().map_err(|e| Error::io("readdir", disk.path(), e))?;
    let names = names.into_iter().filter(|name| id_of(name).is_some());
    names
        .map(|name| match header_of_any(disk, &name) {
            // What another may read is not lost.
            Err(e) if is_of_the_caller(&e) => Err(Error::io("open", disk.path().join(name), e)),
            Err(e) => Ok((name, Err(e.to_string()))),
            Ok(header) => Ok((name, header)),
        })
        .collect()
}

/// A file that says itself that it is not in the log.
fn is_spare(disk: &Disk, name: &str) -> bool {
    first_bytes(disk, name).is_ok_and(|first| first.starts_with(&SPARE_MAGIC))
}

fn first_bytes(disk: &Disk, name: &str) -> std::io::Result<Vec<u8>> {
    let mut first = vec![0; LEN];
    let read = disk.open(name, Access::Read)?.read_at(&mut first, 0)?;
    first.truncate(read);
    Ok(first)
}

fn manifest_alone(disk: &Disk) -> Option<Manifest> {
    let file = disk.open(manifest::NAME, Access::Read).ok()?;
    let len =
        file.status().ok().map(|status| status.len).filter(|len| *len <= manifest::MAX_SIZE)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_at(&mut bytes, 0).ok()?;
    Manifest::decode(&bytes).ok()
}

fn header(disk: &Disk, name: &str) -> Result<Identity, String> {
    decode(&first_bytes(disk, name).map_err(|e| e.to_string())?)
}

/// Of a spare file too: what it was.
fn header_of_any(disk: &Disk, name: &str) -> std::io::Result<Result<Identity, String>> {
    let mut first = first_bytes(disk, name)?;
    if let Some(magic) = first.first_chunk_mut().filter(|magic| **magic == SPARE_MAGIC) {
        *magic = SEGMENT_MAGIC;
    }
    Ok(decode(&first))
}

fn decode(first: &[u8]) -> Result<Identity, String> {
    Identity::decode(first).map_err(|refusal| match refusal {
        Refusal::Damaged(what) => format!("its header is damaged: {what}"),
        Refusal::Unsupported { version, features } => {
            format!("it has format version {version}, features {features:#x}")
        }
    })
}

pub(super) fn open(disk: &Disk, planned: &Planned) -> (Source, u64) {
    let opened = disk.open(&planned.file, Access::Read);
    let opened = opened.and_then(|file| file.status().map(|status| (file, status.len)));
    let (file, len) = match opened {
        Ok((file, len)) => (Ok(file), len),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (Err("it is missing".to_owned()), 0),
        Err(e) => (Err(format!("it cannot be opened: {e}")), 0),
    };
    (Source::new(file, len, &planned.identity), len)
}

fn leftover(file: &str, identity: Identity) -> Planned {
    Planned { identity, file: file.to_owned(), ends: Ends::Leftover }
}

fn by_manifest(disk: &Disk, manifest: &Manifest, headers: &Headers, flaws: Vec<Gap>) -> Plan {
    let mut segments = Vec::new();
    let mut used = Vec::new();
    for (index, entry) in manifest.segments.iter().enumerate() {
        let identity = entry.identity(manifest.log_id);
        let holds = |name: &str| headers.get(name).is_some_and(|h| h.as_ref() == Ok(&identity));
        let mut file = file_name(entry.id);
        // Someone may have given it another name.
        if !holds(&file) {
            let other = headers.keys().find(|name| holds(name));
            file = other.map_or(file, Clone::clone);
        }
        let ends = match walk::says(manifest, index) {
            (Says::Bounded, Some(end)) => Ends::At(end),
            (Says::Open { .. } | Says::Bounded, _) if manifest.clean_end.is_some() => Ends::Unused,
            _ => Ends::Open,
        };
        used.push(file.clone());
        segments.push(Planned { identity, file, ends });
    }
    let mut plan = Plan {
        by_manifest: true,
        segments,
        durable: manifest.durable,
        flaws,
        notes: manifest.notes.clone(),
        noted: manifest.noted,
        next_base: manifest.next_base,
    };
    // Its own name may be that of a segment whose bytes are in another file: then it is told of there.
    let named = |name: &String| id_of(name).is_some_and(|id| manifest.find(id).is_some());
    for (name, header) in headers.iter().filter(|(name, _)| !used.contains(name)) {
        match header {
            Ok(identity) => plan.leave(disk, name, *identity, manifest.log_id),
            // An interrupted creation may leave it.
            Err(_) if !named(name) && stale::is_free(disk, manifest, name) => {}
            Err(why) => plan.note(disk, name, why),
        }
    }
    plan.sorted()
}

fn by_headers(disk: &Disk, headers: Headers, note: Gap) -> Plan {
    let watermark = watermark::load(disk).unwrap_or_default();
    // That of which the watermark speaks; else the one with the most segments.
    let mut logs: BTreeMap<[u8; 16], (bool, usize, u64)> = BTreeMap::new();
    for identity in headers.values().filter_map(|header| header.as_ref().ok()) {
        let known = highest(&watermark, identity.log_id).is_some();
        let (vouched, count, last) = logs.entry(identity.log_id).or_default();
        (*count, *vouched, *last) = (*count + 1, known, identity.base.max(*last));
    }
    let log = logs.iter().max_by_key(|(_, seen)| **seen).map_or([0; 16], |(log, _)| *log);
    let durable = highest(&watermark, log).unwrap_or(0);
    let mut plan = Plan {
        by_manifest: false,
        segments: Vec::new(),
        durable,
        flaws: vec![note],
        notes: Notes::default(),
        noted: 0,
        next_base: 0,
    };
    let mut found = Vec::new();
    for (name, header) in headers {
        match header {
            Ok(identity) if is_spare(disk, &name) => plan.leave(disk, &name, identity, log),
            Ok(identity) if identity.log_id == log => found.push((name, identity)),
            Ok(identity) => plan.leave(disk, &name, identity, log),
            Err(why) => plan.note(disk, &name, &why),
        }
    }
    // The last one first, since of two windows that overlap the later is the log's: a reset began anew there. And first the
    // file that has its own name: a copy is left over.
    found.sort_by_key(|(name, identity)| (Reverse(identity.id), *name != file_name(identity.id)));
    let mut taken = Windows::default();
    for (file, identity) in found {
        let over = taken.take(identity.base..identity.base + identity.size);
        let ends = if over { Ends::Leftover } else { Ends::Open };
        plan.segments.push(Planned { identity, file, ends });
    }
    let mut plan = plan.sorted();
    plan.find_unused(disk);
    plan
}

/// Windows, joined where they overlap: where each begins, and its end.
#[derive(Default)]
struct Windows(BTreeMap<u64, u64>);

impl Windows {
    /// Takes this one too. Whether it overlaps one that was taken before.
    fn take(&mut self, window: Range<u64>) -> bool {
        let Range { mut start, mut end } = window;
        let mut over = false;
        while let Some((from, to)) = self.0.range(..end).next_back().map(|(from, to)| (*from, *to))
        {
            if to <= start {
                break;
            }
            self.0.remove(&from);
            (start, end, over) = (start.min(from), end.max(to), true);
        }
        self.0.insert(start, end);
        over
    }
}

impl Plan {
    /// One segment by itself.
    pub(super) fn of(planned: Planned) -> Plan {
        Plan {
            by_manifest: true,
            durable: planned.end(),
            segments: vec![planned],
            flaws: Vec::new(),
            notes: Notes::default(),
            noted: 0,
            next_base: 0,
        }
    }

    fn note(&mut self, disk: &Disk, name: &str, why: &str) {
        self.flaws.push(Gap::note(disk.path().join(name), id_of(name), 0..0, why.to_owned()));
    }

    fn leave(&mut self, disk: &Disk, name: &str, identity: Identity, log: [u8; 16]) {
        if identity.log_id == log {
            self.segments.push(leftover(name, identity));
        } else {
            self.note(disk, name, stale::FOREIGN);
        }
    }

    fn sorted(mut self) -> Plan {
        self.segments
            .sort_by_key(|planned| (planned.identity.base, planned.ends == Ends::Leftover));
        self
    }

    /// The last segments are ready ones if nothing was ever appended to them, and nothing says that anything was.
    fn find_unused(&mut self, disk: &Disk) {
        let of_the_log = self.segments.iter_mut().filter(|planned| planned.ends == Ends::Open);
        for planned in of_the_log.rev() {
            let Identity { base, size, .. } = planned.identity;
            let (mut source, _) = open(disk, planned);
            let begun = self.durable > base + DATA_START;
            let is_known = begun || source.absent().is_some();
            if is_known || source.find(DATA_START, size, |_| true).is_some() {
                break;
            }
            planned.ends = Ends::Unused;
        }
    }

    /// Index of the next segment that is in the log and may hold something.
    pub(super) fn next_used(&self, index: usize) -> Option<usize> {
        let rest = self.segments.iter().enumerate().skip(index + 1);
        let mut used = rest.filter(|(_, p)| !matches!(p.ends, Ends::Leftover | Ends::Unused));
        used.next().map(|(index, _)| index)
    }

    /// Index of the next segment that is in the log.
    pub(super) fn next_in_log(&self, index: usize) -> Option<usize> {
        let rest = self.segments.iter().enumerate().skip(index + 1);
        rest.filter(|(_, planned)| planned.ends != Ends::Leftover).map(|(index, _)| index).next()
    }

    /// What is wrong with the file of a segment as a whole.
    pub(super) fn flaws(
        disk: &Disk,
        planned: &Planned,
        source: &Source,
        len: u64,
    ) -> Vec<(Range<u64>, String)> {
        let Planned { identity, file, ends } = planned;
        let mut flaws = Vec::new();
        if let Some(why) = source.absent() {
            // Of all that is missing the walk tells, if the segment held anything.
            let tells = matches!(*ends, Ends::At(end) if end > DATA_START);
            return if tells { flaws } else { vec![(0..0, why.to_owned())] };
        }
        if *ends == Ends::Leftover {
            return flaws;
        }
        let name = file_name(identity.id);
        match header(disk, file) {
            Ok(found) if found == *identity && *file != name => {
                flaws.push((0..0, format!("{name} is not this segment, this file is")));
            }
            Ok(found) if found == *identity => {}
            Ok(found) => {
                flaws.push((0..LEN as u64, format!("its header is that of segment {}", found.id)));
            }
            Err(why) => flaws.push((0..LEN as u64, why)),
        }
        if len != identity.size {
            let what = format!("it has {len} bytes instead of {}", identity.size);
            flaws.push((len.min(identity.size)..len, what));
        }
        flaws
    }
}

/// The positions of `offsets` of a segment.
pub(super) fn lsns(identity: &Identity, offsets: &Range<u64>) -> Range<Lsn> {
    Lsn::new(identity.base + offsets.start)..Lsn::new(identity.base + offsets.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_whichever_comes_first() {
        let mut windows = Windows::default();
        for (window, over) in
            [(20..30, false), (0..10, false), (10..20, false), (5..6, true), (30..40, false)]
        {
            assert_eq!(windows.take(window.clone()), over, "{window:?}");
        }
        assert!(windows.take(0..100) && windows.take(99..120) && !windows.take(120..130));
    }

    /// Where the watermark cannot be read the manifest is asked alone: it may be as long as it says.
    #[test]
    fn p11_a_manifest_that_claims_terabytes_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join(manifest::NAME)).unwrap();
        file.set_len(1 << 43).unwrap();
        assert!(manifest_alone(&Disk::open(dir.path()).unwrap()).is_none());
    }
}
