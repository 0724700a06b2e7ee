//! Sound logs to be damaged, checksums to be mended, and what must hold of any disk that is opened.

use std::num::NonZero;
use std::sync::OnceLock;

use duralog::inspect::{Found, Frames, Inspector, OwnedRecord, Piece, Salvage, SegmentReader};
use duralog::sim::SimDisk;
use duralog::{Error, Log, Lsn, Options};

pub const SIZE: u64 = 16 << 10;
/// Where the frames of a segment begin.
pub const FRAMES: usize = 4096;

pub type Files = Vec<(String, Vec<u8>)>;

pub fn options() -> Options {
    Options::new().segment_size(SIZE)
}

/// Writes a log, the same bytes each time: sealed segments, one of them recycled; an open one that ended and
/// the one that follows it, both with batches and marks. Stops where the disk fails.
pub fn write(disk: &SimDisk) -> Result<Log, Error> {
    let log = options().spare_segments(1).open_on(disk)?;
    let group = |n: u8| {
        log.append_durable(&[n; 40])?;
        log.append_batch(&[[n; 8], [n; 8], [n; 8]])?;
        log.append_durable(b"")
    };
    for n in 0..3 {
        group(n)?;
        log.roll()?;
        log.step()?;
    }
    log.append(&[3; 500])?;
    log.commit()?;
    log.checkpoint(log.replay().nth(5).map_or(Ok(Lsn::MIN), |r| r.map(|r| r.lsn()))?)?;
    log.step()?;
    log.roll()?;
    group(4)?;
    group(5)?;
    log.append(b"not committed")?;
    Ok(log)
}

/// Without RESERVE, whose content has no meaning.
pub fn files_of(disk: &SimDisk) -> Files {
    let names = disk.files().into_iter().filter(|name| name != "RESERVE");
    names.map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

/// A sound log as its files: open, or closed.
pub fn template(closed: bool) -> &'static Files {
    static OPEN: OnceLock<Files> = OnceLock::new();
    static CLOSED: OnceLock<Files> = OnceLock::new();
    (if closed { &CLOSED } else { &OPEN }).get_or_init(|| {
        let disk = SimDisk::new(1);
        let log = write(&disk).unwrap();
        if closed {
            log.close().unwrap();
        }
        drop(log);
        files_of(&disk)
    })
}

pub fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(2);
    files.iter().for_each(|(name, bytes)| disk.put(name, bytes).unwrap());
    disk
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn set_sum(bytes: &mut [u8], from: usize, at: usize) {
    if at + 4 <= bytes.len() {
        let sum = crc32c::crc32c(&bytes[from..at]).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&sum);
    }
}

/// Mends the checksums outside frames, by the rules of FORMAT.md and not by the crate's code.
pub fn mend(name: &str, bytes: &mut [u8]) {
    if name.ends_with(".seg") {
        set_sum(bytes, 0, 16);
        set_sum(bytes, 0, 72);
    } else if name == "WATERMARK" {
        set_sum(bytes, 0, 32);
        set_sum(bytes, 512, 512 + 32);
    } else if bytes.len() >= 36 {
        set_sum(bytes, 0, 16);
        let len = (bytes.len() - 36) as u64;
        bytes[24..32].copy_from_slice(&len.to_le_bytes());
        set_sum(bytes, 0, bytes.len() - 4);
    }
}

/// Mends every frame that the lengths lead to; `own` also the positions that marks and ends name.
pub fn mend_frames(bytes: &mut [u8], own: bool) {
    if bytes.len() < FRAMES {
        return;
    }
    let (seed, base) = (u32_at(bytes, 72), u64_at(bytes, 48));
    let mut at = FRAMES;
    while at + 8 <= bytes.len() {
        let word = u32_at(bytes, at + 4);
        let len = (word & 0x0FFF_FFFF) as usize;
        if word == 0 || at + 8 + len > bytes.len() {
            break;
        }
        let lsn = base.wrapping_add(at as u64);
        if own && matches!(word >> 28, 3 | 4) && len == 16 {
            bytes[at + 8..at + 16].copy_from_slice(&lsn.to_le_bytes());
        }
        let position = (lsn / 8) as u32;
        let sum = crc32c::crc32c_append(seed ^ position, &bytes[at + 4..at + 8 + len]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at += 8 + len.next_multiple_of(8);
    }
}

/// The records up to the first error, and whether there is one.
#[derive(Debug, PartialEq)]
struct Seen {
    records: Vec<(Lsn, Vec<u8>)>,
    damaged: bool,
}

fn see(log: &Log) -> Seen {
    let mut seen = Seen { records: Vec::new(), damaged: false };
    for record in log.replay() {
        match record {
            Ok(record) => seen.records.push((record.lsn(), record.payload().to_vec())),
            Err(error) => {
                assert!(error.is_corrupt(), "a sound disk fails: {error}");
                seen.damaged = true;
            }
        }
    }
    let ascending = seen.records.is_sorted_by(|a, b| a.0 < b.0);
    assert!(ascending, "positions do not ascend: {seen:?}");
    for (lsn, payload) in seen.records.first().into_iter().chain(seen.records.last()) {
        assert!(*lsn < log.end() && *lsn >= log.head());
        assert_eq!(log.read(*lsn).unwrap().payload(), payload);
    }
    seen
}

/// Opens the disk and appends: records or an error. And the same ones again, in one of the ways in which a
/// process may end; the input chooses which, since each open takes as long as all the rest.
pub fn exercise(files: &Files, input: &[u8]) {
    let (disk, chance) = (&disk_of(files), crc32c::crc32c(input));
    let before = files_of(disk);
    let log = match options().open_on(disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(before == files_of(disk), "a refused log was changed: {error}");
            let again = options().open_on(disk).map(drop).unwrap_err();
            assert_eq!(error.to_string(), again.to_string());
            return;
        }
    };
    let mut seen = see(&log);
    // Of a log that was closed only what is read is checked; after anything else all of it. So a clean end that
    // is a lie shows in the replay, and no more once the log is in use and recovery walks to the true end.
    let found_again = |disk: &SimDisk, seen: &Seen| match options().open_on(disk) {
        Ok(log) if seen.damaged => assert!(see(&log).records.starts_with(&seen.records)),
        Ok(log) => assert_eq!(see(&log), *seen),
        Err(error) => assert!(seen.damaged && error.is_corrupt(), "{error}: {seen:?}"),
    };
    if chance % 4 == 0 {
        // All that recovery told of is on the disk.
        drop(log);
        return found_again(&disk.crash(chance.into()), &seen);
    }
    let lsn = log.append_durable(b"after").expect("appended");
    assert_eq!(log.read(lsn).unwrap().payload(), b"after");
    if !seen.damaged {
        seen.records.push((lsn, b"after".to_vec()));
    }
    let again = match chance % 4 {
        1 => disk.clone(),
        2 => disk.crash(chance.into()),
        _ => {
            log.close().expect("closed");
            disk.clone()
        }
    };
    drop(log);
    found_again(&again, &seen);
    assert_eq!(disk.violations(), Vec::<String>::new());
}

/// What an inspector sees, on a real disk since it reads no other; in memory where the system has that.
pub fn inspect(files: &Files) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    pieces(dir.path());
    let Ok(inspector) = Inspector::open(dir.path()) else {
        salvage(dir.path());
        return rebuild(dir.path());
    };
    let records: Result<Vec<OwnedRecord>, Error> = inspector.records().collect();
    let (saved, gaps) = salvage(dir.path()).expect("an inspector could be opened");
    if records.is_err() {
        assert!(gaps > 0, "a salvage tells of no damage");
    }
    let (verified, deep) =
        (inspector.verify(), inspector.verify_deep(NonZero::<usize>::MIN, |_| {}));
    match (&verified, deep) {
        (Ok(verified), Ok(deep)) => {
            assert_eq!((deep.verified, deep.damage), (*verified, Vec::new()))
        }
        (Err(Error::Corrupt(_)), Ok(deep)) => assert!(!deep.damage.is_empty(), "damage not found"),
        (_, deep) => assert!(deep.is_err(), "what cannot be read is sound: {deep:?}"),
    }
    let kept = inspector.kept();
    if let Ok(verified) = verified {
        assert_eq!(kept.expect("verified").end, verified.end);
        let records = records.expect("verified");
        assert_eq!(verified.records, records.len() as u64);
        assert_eq!(saved, records, "the salvage of a sound log");
        shipped(&inspector, files, &records);
        // It knows nothing of files that the manifest does not name, for which a log may be refused.
        if let Ok(log) = options().open_on(&disk_of(files)) {
            assert_eq!(see(&log).records.len() as u64, verified.records);
        }
    }
}

/// Each byte of a segment is in one piece, whatever it is.
fn pieces(dir: &std::path::Path) {
    let Ok(mut frames) = Frames::open(dir) else { return };
    let (mut at, mut end) = (0, 0);
    while let Some(piece) = frames.next() {
        let (from, to) = match piece {
            Piece::Segment(segment) => {
                assert_eq!(at, end, "a segment is not shown whole");
                (at, end) = (FRAMES as u64, segment.size);
                continue;
            }
            Piece::Frame(frame) => (frame.offset, frame.offset + frame.len),
            Piece::Hole(hole) => (hole.offsets.start, hole.offsets.end),
            _ => continue,
        };
        assert!(from == at && to > from, "{from} to {to} behind {at}");
        assert!(frames.payload().is_none_or(|payload| payload.len() as u64 <= to - from));
        at = to;
    }
    assert_eq!(at, end, "the last segment is not shown whole");
}

/// A log that is rebuilt opens, and holds what the salvage said.
fn rebuild(dir: &std::path::Path) {
    let new = dir.join("new");
    let Ok(Some(report)) = Salvage::rebuild(dir, &new) else { return };
    let log = options().open(&new).expect("a rebuilt log opens");
    let lsns: Vec<Lsn> = log.replay().map(|record| record.unwrap().lsn()).collect();
    assert_eq!(lsns.len() as u64, report.records);
}

/// The records that are surely in the log, and the number of gaps; none if there is no log.
fn salvage(dir: &std::path::Path) -> Option<(Vec<OwnedRecord>, u64)> {
    let mut salvage = Salvage::open(dir).ok()?;
    let mut records: Vec<OwnedRecord> = Vec::new();
    for found in salvage.by_ref() {
        if let Found::Record(record) = found {
            assert!(records.last().is_none_or(|last| last.lsn < record.lsn));
            records.push(record);
        }
    }
    assert_eq!(salvage.report().records, records.len() as u64);
    Some((records, salvage.report().gaps))
}

/// Each sealed segment by itself is its part of a sound log.
fn shipped(inspector: &Inspector, files: &Files, records: &[OwnedRecord]) {
    for segment in &inspector.summary().segments {
        let (Some(end), Some((_, bytes))) =
            (segment.end, files.iter().find(|(name, _)| *name == segment.file))
        else {
            continue;
        };
        let reader = SegmentReader::new(&segment.file, &bytes[..]).unwrap().until(end).unwrap();
        let read: Vec<_> = reader.map(Result::unwrap).collect();
        let part = records.iter().filter(|record| record.lsn > segment.base && record.lsn < end);
        assert!(read.iter().eq(part), "segment {}", segment.id);
    }
}

/// Any bytes as a segment: records in order, and then an end or an error.
pub fn read_segment(bytes: &[u8]) {
    let Ok(mut reader) = SegmentReader::new("bytes", bytes) else { return };
    let mut last = reader.identity().base;
    let failed = loop {
        match reader.next_payload() {
            Ok(Some((lsn, payload))) => {
                assert!(lsn > last && payload.len() < bytes.len());
                last = lsn;
            }
            ended => break ended.is_err(),
        }
    };
    assert_eq!(failed, reader.end().is_none());
}
