//! A salvage of damaged logs, held frame by frame against what the sound bytes say by FORMAT.md alone: what is not damaged
//! is found, nothing else is, the gaps are what is missing, and no byte is changed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod doubt;
mod frames;
mod manifest;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use duralog::inspect::{Doubt, Found, Gap, Inspector, Report, Salvage};
use duralog::sim::SimDisk;
use duralog::{Log, Lsn, Options};

use frames::{Frame, batches, frames};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

const SIZE: usize = 64 << 10;

pub(crate) fn options() -> Options {
    Options::new().segment_size(SIZE as u64)
}

/// splitmix64.
fn next(draw: &mut u64) -> usize {
    *draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*draw ^ (*draw >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as usize >> 1
}

pub(crate) fn payload(n: u32, len: usize) -> Vec<u8> {
    let mut draw = u64::from(n);
    (0..len).map(|_| next(&mut draw) as u8).collect()
}

/// Records of many lengths, batches and marks, over several segments.
pub(crate) fn fill(log: &Log) {
    for n in 0..90 {
        let len = [5, 100, 700, 3, 5000, 40, 0, 9000][n as usize % 8];
        log.append(&payload(n, len)).unwrap();
        if n % 5 == 0 {
            log.append_batch(&[payload(n, 300), payload(n + 1, 0), payload(n + 2, 90)]).unwrap();
        }
        if n % 3 == 0 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
}

pub(crate) fn read_dir(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let entries = entries.filter(|e| e.file_name() != "RESERVE");
    entries
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect()
}

pub(crate) fn write_dir(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

/// A closed log.
pub(crate) fn closed() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    log.close().unwrap();
    read_dir(dir.path())
}

/// An open one, of which several segments are not sealed yet: no background thread has been there.
pub(crate) fn open() -> Files {
    let disk = SimDisk::new(1);
    let log = options().open_on(&disk).unwrap();
    fill(&log);
    // Into a segment that is ready, so that the one before is not sealed at once.
    log.step().unwrap();
    log.roll().unwrap();
    for n in 90..120 {
        log.append(&payload(n, 100)).unwrap();
        log.append_batch(&[payload(n, 300), payload(n + 1, 0), payload(n + 2, 90)]).unwrap();
        log.commit().unwrap();
    }
    let names = disk.files().into_iter().filter(|name| name != "RESERVE");
    names.map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

#[derive(Debug, Default)]
struct Seen {
    records: BTreeMap<u64, Vec<u8>>,
    doubtful: BTreeMap<u64, (Vec<u8>, Doubt)>,
    gaps: Vec<Gap>,
    report: Option<Report>,
}

impl Seen {
    fn report(&self) -> &Report {
        self.report.as_ref().unwrap()
    }

    fn missing(&self) -> Vec<Range<u64>> {
        let gaps = self.gaps.iter().filter(|gap| !gap.lsns.is_empty());
        gaps.map(|gap| gap.lsns.start.get()..gap.lsns.end.get()).collect()
    }
}

/// Salvages without leave to write, and holds what always holds.
pub(crate) fn salvage(dir: &Path) -> Seen {
    let before = read_dir(dir);
    let mode = |mode| std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o500);
    let mut salvage = Salvage::open(dir).unwrap();
    let (mut seen, mut last) = (Seen::default(), Lsn::MIN);
    for found in salvage.by_ref() {
        let lsn = match found {
            Found::Record(record) => {
                seen.records.insert(record.lsn.get(), record.payload);
                record.lsn
            }
            Found::Doubtful(doubtful) => {
                let record = doubtful.record;
                assert!(!doubtful.why.to_string().is_empty());
                seen.doubtful.insert(record.lsn.get(), (record.payload, doubtful.why));
                record.lsn
            }
            Found::Gap(gap) => {
                assert!(!gap.what.is_empty() && !gap.to_string().is_empty());
                let lsn = if gap.lsns.is_empty() { last } else { gap.lsns.start };
                seen.gaps.push(gap);
                lsn
            }
            other => panic!("{other:?}"),
        };
        assert!(lsn >= last, "{lsn} after {last}");
        last = lsn;
    }
    mode(0o700);
    assert!(read_dir(dir) == before, "a byte was changed");
    let report = salvage.report().clone();
    assert_eq!(report.records, seen.records.len() as u64);
    assert_eq!(
        report.bytes,
        seen.records.values().map(|payload| payload.len() as u64).sum::<u64>()
    );
    assert_eq!(report.doubtful + report.left_over, seen.doubtful.len() as u64);
    assert_eq!(report.gaps, seen.gaps.len() as u64);
    assert_eq!(
        report.missing,
        seen.missing().iter().map(|lsns| lsns.end - lsns.start).sum::<u64>()
    );
    assert!(!report.to_string().is_empty());
    seen.report = Some(report);
    seen
}

/// Holds a salvage of `hurt` against the sound log. `exact`: the manifest says where each segment ends.
pub(crate) fn check(
    frames: &[Frame],
    sound: &Files,
    hurt: &Files,
    exact: bool,
    what: &str,
) -> Seen {
    let dir = write_dir(hurt);
    let seen = salvage(dir.path());
    let (empty, batches) = (Vec::new(), batches(frames));
    let same = |frame: &Frame| {
        let (old, new) = (&sound[&frame.file], hurt.get(&frame.file).unwrap_or(&empty));
        new.get(frame.bytes.clone()) == Some(&old[frame.bytes.clone()])
    };
    let sane: Vec<bool> = frames.iter().map(same).collect();
    let mut gaps: Vec<Range<u64>> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let (lsn, sane_here) = (frame.lsn, sane[index]);
        // Where the manifest says where a segment ends, it needs no end frame.
        if !sane_here && frame.kind != 4 {
            match gaps.last_mut() {
                Some(gap) if gap.end == lsn => gap.end = frame.end(),
                _ => gaps.push(lsn..frame.end()),
            }
        }
        if !frame.is_record() {
            continue;
        }
        let (record, doubtful) = (seen.records.get(&lsn), seen.doubtful.get(&lsn));
        let found = record.or(doubtful.map(|(payload, _)| payload));
        assert!(!sane_here || found == Some(&frame.payload), "{what}: record {lsn} is not found");
        let batch = batches[&lsn].clone();
        let whole = batch.clone().all(|i| sane[i]);
        assert!(record.is_none() || whole, "{what}: {lsn} is of a batch that is not whole");
        let first = batch.start == 0 || frames[batch.start - 1].file != frame.file;
        if whole && (first || sane[batch.start - 1]) {
            assert!(record.is_some(), "{what}: {lsn} is given as {doubtful:?}");
        }
        if let Some((_, why)) = doubtful {
            let rest = !whole && *why == Doubt::Unfinished;
            let behind = matches!(why, Doubt::AfterGap | Doubt::Alone | Doubt::Unfinished)
                && (batch.start > 0 && !sane[batch.start - 1] || !whole);
            assert!(rest || behind, "{what}: {lsn} is {why:?}");
        }
    }
    let lsns: BTreeSet<u64> = frames.iter().map(|frame| frame.lsn).collect();
    for (lsn, payload) in &seen.records {
        assert!(lsns.contains(lsn), "{what}: {lsn} was never appended");
        assert!(frames.iter().any(|f| f.lsn == *lsn && f.payload == *payload), "{what}: {lsn}");
    }
    for (lsn, (payload, _)) in &seen.doubtful {
        assert!(frames.iter().any(|f| f.lsn == *lsn && f.payload == *payload), "{what}: {lsn}");
    }
    if exact {
        assert_eq!(seen.missing(), gaps, "{what}");
        assert_eq!(seen.report().missing, seen.report().missing_committed);
    } else {
        // Where the end of a segment is lost too, no one knows how much stood there.
        for gap in &gaps {
            let covered = seen.missing().iter().any(|m| m.start == gap.start && m.end >= gap.end);
            assert!(covered, "{what}: {gap:?} is not in {:?}", seen.missing());
        }
        for (frame, sane) in frames.iter().zip(&sane).filter(|(_, sane)| **sane) {
            let told = seen.missing().iter().any(|m| m.start < frame.end() && frame.lsn < m.end);
            assert!(!told, "{what}: {frame:?} ({sane}) is told to be missing");
        }
    }
    seen
}

/// Damages one place of a segment, where something is.
pub(crate) fn damage(files: &mut Files, draw: &mut u64) -> String {
    let names: Vec<String> = files.keys().filter(|name| name.ends_with(".seg")).cloned().collect();
    let name = names[next(draw) % names.len()].clone();
    let old = files[&name].clone();
    let used = old.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if used <= 4096 {
        return String::new();
    }
    let at = 4096 + next(draw) % (used - 4096);
    let other = files[&names[next(draw) % names.len()]].clone();
    let bytes = files.get_mut(&name).unwrap();
    let whole = |unit: usize| at / unit * unit..(at / unit * unit + unit).min(old.len());
    let full = old.len() == SIZE && other.len() == SIZE;
    let kind = if full { next(draw) % 10 } else { 0 };
    match kind {
        0 => bytes[at] ^= 1 << (next(draw) % 8),
        1 => bytes[whole(8)].fill(next(draw) as u8),
        2 => bytes[whole(512)].fill(0),
        3 => bytes[whole(4096)].fill(0xFF),
        4 => {
            let end = (at + 1 + next(draw) % 9000).min(old.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = next(draw) as u8);
        }
        // Misdirected writes: frames of another place, of the same segment and of another.
        5 => {
            let from = 4096 + next(draw) % 3 * 4096;
            let page = old[from..from + 4096].to_vec();
            bytes[whole(4096)].copy_from_slice(&page);
        }
        6 => bytes[whole(4096)].copy_from_slice(&other[whole(4096)]),
        7 => bytes.truncate(at),
        8 => bytes[next(draw) % 76] ^= 0x40,
        _ => bytes.resize(old.len() + 1 + next(draw) % 9000, 0xA5),
    }
    format!("kind {kind} at {at} of {name}; ")
}

#[test]
fn a_sound_log_is_its_own_salvage() {
    for (files, exact) in [(closed(), true), (open(), false)] {
        let frames = frames(&files);
        let seen = check(&frames, &files, &files, exact, "sound");
        assert!(seen.gaps.is_empty() && seen.doubtful.is_empty(), "{seen:?}");
        let dir = write_dir(&files);
        let inspector = Inspector::open(dir.path()).unwrap();
        let unsealed = inspector.summary().segments.iter().filter(|s| s.end.is_none()).count();
        assert!(exact || unsealed > 1);
        let records = inspector.records().map(|record| record.unwrap());
        let records: BTreeMap<u64, Vec<u8>> =
            records.map(|record| (record.lsn.get(), record.payload)).collect();
        assert!(records.len() > 100 && records == seen.records);
        assert!(inspector.salvage().unwrap().eq(Salvage::open(dir.path()).unwrap()));
        let end = frames.iter().filter(|f| f.is_record()).map(Frame::end).max().unwrap();
        assert_eq!(seen.report().lsns.end, Lsn::new(end));
        assert!(seen.report().committed >= Lsn::new(end) && seen.report().by_manifest);
    }
}

#[test]
fn p5_of_a_closed_log_all_that_is_not_damaged_is_found_and_the_gaps_are_what_is() {
    let sound = closed();
    let frames = frames(&sound);
    for seed in 0..400 {
        let (mut hurt, mut draw, mut what) = (sound.clone(), seed, String::new());
        for _ in 0..1 + seed % 4 {
            what += &damage(&mut hurt, &mut draw);
        }
        check(&frames, &sound, &hurt, true, &what);
    }
}

#[test]
fn p5_of_an_open_log_all_that_is_not_damaged_is_found() {
    let sound = open();
    let frames = frames(&sound);
    for seed in 1000..1300 {
        let (mut hurt, mut draw, mut what) = (sound.clone(), seed, String::new());
        for _ in 0..1 + seed % 3 {
            what += &damage(&mut hurt, &mut draw);
        }
        check(&frames, &sound, &hurt, false, &what);
    }
}
