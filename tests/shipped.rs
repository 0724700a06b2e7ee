//! Segments read from wherever their bytes are: the same records as the log's own, the same chain, and no others whatever
//! the bytes are.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::io::{self, Read};

use duralog::inspect::{Inspector, OwnedRecord, SegmentInfo, SegmentReader, SegmentState};
use duralog::{Error, Log, Lsn, Options};

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

/// Of these a batch is larger than what is read at once.
const LARGE: u64 = 2 << 20;

fn fill(log: &Log) {
    for n in 0..120u32 {
        log.append(&n.to_le_bytes().repeat(n as usize * 37 % 3000)).unwrap();
        if n % 7 == 0 {
            log.append_batch(&[n.to_le_bytes().repeat(900), vec![], vec![7; 60_000 / 8]]).unwrap();
        }
        if n % 5 == 0 {
            log.commit().unwrap();
        }
    }
}

/// A closed log, its sealed segments with their bytes, and its records.
fn shipped(dir: &std::path::Path) -> (Vec<(SegmentInfo, Vec<u8>)>, Vec<OwnedRecord>) {
    let inspector = Inspector::open(dir).unwrap();
    let segments = inspector.summary().segments.iter();
    let sealed = segments.filter(|segment| segment.state == SegmentState::Sealed);
    let read = |segment: &SegmentInfo| std::fs::read(dir.join(&segment.file)).unwrap();
    let segments: Vec<_> = sealed.map(|segment| (segment.clone(), read(segment))).collect();
    let end = segments.last().unwrap().0.end.unwrap();
    let records = inspector.records().map(|record| record.unwrap());
    (segments, records.take_while(|record| record.lsn < end).collect())
}

/// A few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 % 5 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (self.1 % 977 + 1).min(to.len());
        self.0.read(&mut to[..len])
    }
}

fn rolled(size: u64) -> (Vec<(SegmentInfo, Vec<u8>)>, Vec<OwnedRecord>) {
    let dir = tempfile::tempdir().unwrap();
    let log = options().segment_size(size).open(dir.path()).unwrap();
    fill(&log);
    for _ in 0..if size == LARGE { 20 } else { 0 } {
        log.append_batch(&[vec![1; 90_000], vec![], vec![7; 300_000], vec![8]]).unwrap();
        log.append(&vec![9; 100_000]).unwrap();
    }
    log.roll().unwrap();
    log.append(b"not shipped").unwrap();
    log.close().unwrap();
    shipped(dir.path())
}

#[test]
fn a_chain_of_segments_in_memory_is_the_log() {
    for size in [64 << 10, LARGE] {
        is_the_log(size);
    }
}

fn is_the_log(size: u64) {
    let (segments, records) = rolled(size);
    assert!(segments.len() > 3 && records.len() > 120);
    let (mut found, mut next) = (Vec::new(), None);
    for (info, bytes) in &segments {
        let mut reader = SegmentReader::new(&info.file, Trickle(bytes, 0)).unwrap();
        let identity = reader.identity();
        assert_eq!((identity.id, identity.base, identity.size), (info.id, info.base, info.size));
        assert_eq!(identity.salt, info.salt);
        assert!(next.is_none_or(|next| next == identity.id), "the chain is broken");
        while let Some((lsn, payload)) = reader.next_payload().unwrap() {
            found.push((lsn, payload.to_vec()));
        }
        let end = reader.end().unwrap();
        assert_eq!(Some(end.lsn), info.end);
        next = Some(end.next.unwrap());
        assert!(reader.next().is_none());
    }
    assert_eq!(next, Some(segments.last().unwrap().0.id + 1));
    let records: Vec<_> = records.into_iter().map(|record| (record.lsn, record.payload)).collect();
    assert!(found == records);
    // The iterator, the end that the manifest has, and no byte behind it.
    let found = segments.iter().flat_map(|(info, bytes)| {
        let end = info.end.unwrap();
        let used = usize::try_from(end.get() - info.base.get()).unwrap();
        let reader = SegmentReader::new(&info.file, &bytes[..used]).unwrap().until(end).unwrap();
        reader.map(|record| record.map(|record| (record.lsn, record.payload)).unwrap())
    });
    assert!(found.eq(records));
}

#[test]
fn a_segment_that_was_cut_ends_where_the_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let kept = log.append_batch(&["one", "two"]).unwrap();
    log.append(b"cut").unwrap();
    log.truncate_after(kept[1]).unwrap();
    log.append(b"more").unwrap();
    log.close().unwrap();
    let (segments, records) = shipped(dir.path());
    let (info, bytes) = &segments[0];
    let open = || SegmentReader::new("cut", &bytes[..]).unwrap();
    let end = info.end.unwrap();
    let mut reader = open().until(end).unwrap();
    let found: Vec<_> = reader.by_ref().map(|record| record.unwrap()).collect();
    assert!(found == records && found.len() == 2);
    assert_eq!(reader.end().map(|end| (end.lsn, end.next)), Some((end, None)));
    // Where it ends the bytes alone do not say, and no other end is right.
    let error = open().last().unwrap().unwrap_err();
    assert!(error.to_string().contains("nothing says that the segment ends here"), "{error}");
    for (end, what) in [
        (end.get() - 16, "a batch is not complete"),
        (end.get() - 8, "a frame reaches beyond"),
        (end.get() + 8, "a frame reaches beyond"),
        (end.get() + 800, "no valid frame"),
    ] {
        let mut reader = open().until(Lsn::new(end)).unwrap();
        let Error::Corrupt(error) = reader.by_ref().last().unwrap().unwrap_err() else { panic!() };
        assert!(error.what.contains(what), "{end}: {error}");
        assert!(error.path.ends_with("cut") && error.segment == Some(info.id));
        assert_eq!(reader.end(), None);
    }
    for end in [0, 4088, 4097, 65536 - 24, u64::MAX] {
        assert!(matches!(open().until(Lsn::new(end)), Err(Error::OutOfRange { .. })), "{end}");
    }
}

#[test]
fn p11_bytes_that_are_cut_short_or_changed_are_an_error_behind_the_records_before() {
    let (segments, records) = rolled(64 << 10);
    let (info, bytes) = &segments[1];
    let records: Vec<_> =
        records.iter().filter(|r| r.lsn > info.base && r.lsn < info.end.unwrap()).collect();
    let used = usize::try_from(info.end.unwrap().get() - info.base.get()).unwrap() + 24;
    let read = |bytes: &[u8]| {
        let mut found = Vec::new();
        let mut reader = SegmentReader::new("bytes", bytes)?;
        while let Some((lsn, payload)) = reader.next_payload()? {
            let record = records.get(found.len()).unwrap();
            assert!(record.lsn == lsn && record.payload == payload, "a record that was not there");
            found.push(lsn);
        }
        assert_eq!(reader.end().unwrap().lsn, info.end.unwrap());
        Ok::<_, Error>(found.len())
    };
    assert_eq!(read(bytes).unwrap(), records.len());
    assert_eq!(read(&bytes[..used]).unwrap(), records.len());
    for len in (0..used).step_by(61) {
        let Err(Error::Corrupt(error)) = read(&bytes[..len]) else { panic!("cut at {len}") };
        let ends = error.what.contains("the bytes end here") || error.what.contains("too short");
        // It may have been cut in what fills up a frame to a multiple of eight.
        let latest = len.next_multiple_of(8).max(4096) as u64;
        assert!(ends && error.offset <= latest, "cut at {len}: {error}");
    }
    let header = (0..76).filter(|at| !(20..24).contains(at));
    for at in header.chain((4096..used).step_by(13)) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        match read(&bytes) {
            Err(Error::Corrupt(error)) => assert!(error.offset <= at as u64, "{at}: {error}"),
            // What fills up a frame to a multiple of eight.
            Ok(count) => assert_eq!(count, records.len(), "{at}"),
            Err(error) => panic!("{at}: {error}"),
        }
    }
    let mut newer = bytes.clone();
    newer[8] = 2;
    let sum = crc32c(&newer[..16]);
    newer[16..20].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(read(&newer), Err(Error::UnsupportedFormat { version: 2, .. })));
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn a_source_that_fails_is_told_and_ends_the_reader() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match self.0.read(to)? {
                0 => Err(io::Error::other("gone")),
                read => Ok(read),
            }
        }
    }
    let (segments, _) = rolled(64 << 10);
    let bytes = &segments[0].1;
    let mut reader = SegmentReader::new("far", Failing(&bytes[..20_000])).unwrap();
    let last = reader.by_ref().last().unwrap();
    assert!(matches!(last, Err(Error::Io { op: "read", .. })), "{last:?}");
    assert!(reader.next().is_none() && reader.end().is_none());
    assert!(matches!(SegmentReader::new("far", Failing(&[])), Err(Error::Io { .. })));
}
