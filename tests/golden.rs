//! Golden directories: logs that this version of the format wrote, kept as text, and read by every later version of the
//! engine. `tests/golden/v1-*.txt` are logs of format version 1.
//!
//! A failure here means that logs which users have on their disks are not read any more as they were written. Mend the
//! reader, or raise the format's version and keep reading the old one. To regenerate is right only while the version
//! has not been released:
//!
//!     DURALOG_GOLDEN=write cargo test --test golden

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duralog::inspect::{Inspector, SegmentState};
use duralog::{Error, Log, Lsn, Options, Tail};

const BREAKS: &str = "a log that an earlier version wrote is not read as it was written";

type Files = BTreeMap<String, Vec<u8>>;

/// What the log of a golden directory is known to hold.
#[derive(Debug, PartialEq, Default)]
struct Expected {
    records: Vec<(u64, Vec<u8>)>,
    checkpoint: u64,
    /// In the words of `Tail`; none of a log that is refused.
    tail: String,
    /// File, segment, offset and LSNs of the damage.
    corrupt: String,
}

// Text: for each file its name and length and the lines of 32 bytes that are not all zero; then what is expected.

fn to_text(name: &str, files: &Files, expected: &Expected) -> String {
    let mut text = format!("# {name}: see tests/golden.rs\n");
    for (name, bytes) in files {
        writeln!(text, "file {name} {}", bytes.len()).unwrap();
        for (line, chunk) in bytes.chunks(32).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                writeln!(text, "{:06x} {}", line * 32, to_hex(chunk)).unwrap();
            }
        }
    }
    for (lsn, payload) in &expected.records {
        writeln!(text, "record {lsn} {}", to_hex(payload)).unwrap();
    }
    writeln!(text, "checkpoint {}", expected.checkpoint).unwrap();
    writeln!(text, "tail {}", expected.tail).unwrap();
    writeln!(text, "corrupt {}", expected.corrupt).unwrap();
    text
}

fn from_text(text: &str) -> (Files, Expected) {
    let (mut files, mut expected) = (Files::new(), Expected::default());
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "file" => {
                let (name, len) = rest.split_once(' ').unwrap();
                current = name.into();
                files.insert(current.clone(), vec![0; len.parse().unwrap()]);
            }
            "record" => {
                let (lsn, payload) = rest.split_once(' ').unwrap();
                expected.records.push((lsn.parse().unwrap(), from_hex(payload)));
            }
            "checkpoint" => expected.checkpoint = rest.parse().unwrap(),
            "tail" => expected.tail = rest.into(),
            "corrupt" => expected.corrupt = rest.into(),
            offset => {
                let (at, bytes) = (usize::from_str_radix(offset, 16).unwrap(), from_hex(rest));
                files.get_mut(&current).unwrap()[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
    (files, expected)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn read_files(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

fn write_files(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn regenerate() -> bool {
    std::env::var_os("DURALOG_GOLDEN").is_some_and(|what| what == "write")
}

/// The golden directory of this name; made anew first if that was asked for.
fn load(name: &str, make: impl FnOnce() -> Files) -> (Files, Expected) {
    let path = golden().join(format!("{name}.txt"));
    if regenerate() {
        let files = make();
        fs::create_dir_all(golden()).unwrap();
        fs::write(&path, to_text(name, &files, &found(&files))).unwrap();
    }
    from_text(&fs::read_to_string(&path).unwrap())
}

/// What a log holds, as the engine of today reads it.
fn found(files: &Files) -> Expected {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let mut expected = Expected::default();
    match Log::open(dir.path()) {
        Err(Error::Corrupt(damage)) => {
            let file = damage.path.file_name().unwrap().to_str().unwrap();
            let segment = damage.segment.unwrap();
            let (from, to) = (damage.lsns.start, damage.lsns.end);
            expected.corrupt = format!("{file} {segment} {} {from} {to}", damage.offset);
            assert_eq!(read_files(dir.path()), *files, "what is refused is left as it was");
        }
        opened => {
            let log = opened.unwrap();
            expected.records = all(&log);
            expected.checkpoint = log.checkpoint_lsn().get();
            expected.tail = said(log.recovery().tail);
        }
    }
    expected
}

fn said(tail: Tail) -> String {
    match tail {
        Tail::Clean => "clean".into(),
        Tail::Unclean { at } => format!("unclean {at}"),
        Tail::Torn { at } => format!("torn {at}"),
        other => panic!("{other:?}"),
    }
}

fn all(log: &Log) -> Vec<(u64, Vec<u8>)> {
    let records = log.replay().map(|record| record.unwrap());
    records.map(|record| (record.lsn().get(), record.payload().to_vec())).collect()
}

/// Reads the log of a golden directory in each way there is, and goes on in it.
fn check(name: &str, (files, expected): &(Files, Expected)) {
    let version = name.strip_prefix('v').unwrap().split_once('-').unwrap().0;
    assert_eq!(files["MANIFEST"][8..12], version.parse::<u32>().unwrap().to_le_bytes(), "{name}");

    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let inspector = Inspector::open(dir.path()).expect(BREAKS);
    let mut shown = Vec::new();
    let mut refused = false;
    for record in inspector.records() {
        match record {
            Ok(record) => shown.push((record.lsn.get(), record.payload)),
            Err(error) => {
                assert!(error.is_corrupt(), "{name}: {BREAKS}: {error}");
                refused = true;
            }
        }
    }
    assert_eq!(refused, !expected.corrupt.is_empty(), "{name}: {BREAKS}");
    if refused {
        inspector.verify().unwrap_err();
    } else {
        assert_eq!(shown, expected.records, "{name}: {BREAKS}");
        assert_eq!(said(inspector.verify().expect(BREAKS).tail), expected.tail, "{name}: {BREAKS}");
    }
    assert_eq!(read_files(dir.path()), *files, "{name}: an inspection changes nothing");
    assert_eq!(found(files), *expected, "{name}: {BREAKS}");
    if refused {
        return;
    }

    let log = Log::open(dir.path()).expect(BREAKS);
    for (lsn, payload) in &expected.records {
        assert_eq!(log.read(Lsn::new(*lsn)).expect(BREAKS).payload(), payload, "{name}");
    }
    let mut records = expected.records.clone();
    let more = log.append_durable(b"written by a later version").unwrap();
    assert!(records.last().is_none_or(|(lsn, _)| *lsn < more.get()), "{name}: no LSN twice");
    records.push((more.get(), b"written by a later version".to_vec()));
    assert_eq!(all(&log), records, "{name}");
    log.close().unwrap();
    let log = Log::open(dir.path()).unwrap();
    assert_eq!((all(&log), log.recovery().tail), (records, Tail::Clean), "{name}");
}

// The logs.

fn open(dir: &Path) -> Log {
    Options::new().segment_size(16 << 10).open(dir).unwrap()
}

/// Some of everything, over three segments, the last of them with room.
fn fill(log: &Log) {
    log.append(b"one").unwrap();
    log.append(b"").unwrap();
    log.append_batch(&["debit", "credit", ""]).unwrap();
    log.commit().unwrap();
    log.append(&[0, 1, 0xff]).unwrap();
    log.roll().unwrap();
    log.append_durable(b"in the second segment").unwrap();
    log.append_batch(&["a", "b"]).unwrap();
    log.commit().unwrap();
    log.roll().unwrap();
    log.append_durable(b"in the third").unwrap();
    log.append_durable(b"and one more").unwrap();
}

/// Waits until the background has nothing more to do: all that was rolled sealed, the next segment ready.
fn settle(dir: &Path, log: &Log) {
    let begun = Instant::now();
    loop {
        let summary = Inspector::open(dir).unwrap().summary().clone();
        if let [sealed @ .., active, ready] = summary.segments.as_slice() {
            let is_current = active.base <= log.end() && log.end() < ready.base;
            let is_active = active.state == SegmentState::Active && is_current;
            if is_active && sealed.iter().all(|segment| segment.state == SegmentState::Sealed) {
                return;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{summary:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The directory of a log that is open.
fn copied(dir: &Path, log: &Log) -> Files {
    settle(dir, log);
    read_files(dir)
}

/// The file and the offset in it of a record.
fn place(files: &Files, lsn: Lsn) -> (String, usize) {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let inspector = Inspector::open(dir.path()).unwrap();
    let segment = inspector.summary().segments.iter().rfind(|s| s.base <= lsn).unwrap();
    (segment.file.clone(), usize::try_from(lsn.get() - segment.base.get()).unwrap())
}

#[test]
fn v1_closed() {
    let golden = load("v1-closed", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log);
        log.close().unwrap();
        let log = open(dir.path());
        log.append(b"in a second life of the same segment").unwrap();
        log.close().unwrap();
        read_files(dir.path())
    });
    assert_eq!((golden.1.records.len(), golden.1.tail.as_str()), (12, "clean"));
    check("v1-closed", &golden);
}

#[test]
fn v1_open() {
    let golden = load("v1-open", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log);
        log.append(b"never committed").unwrap();
        log.append_batch(&["nor", "this"]).unwrap();
        copied(dir.path(), &log)
    });
    assert_eq!(golden.1.records.len(), 14);
    assert!(golden.1.tail.starts_with("unclean"));
    check("v1-open", &golden);
}

#[test]
fn v1_torn() {
    let golden = load("v1-torn", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log);
        let before = copied(dir.path(), &log);
        log.roll().unwrap();
        log.append_durable(b"in a segment that the manifest calls ready").unwrap();
        let last = log.append_batch(&["of this batch", "one record is not on the disk"]).unwrap();
        let mut files = copied(dir.path(), &log);
        let (file, at) = place(&files, last[1]);
        files.get_mut(&file).unwrap()[at + 16..at + 64].fill(0);
        // The power went before the manifest learned of the roll.
        files.retain(|name, _| before.contains_key(name));
        files.insert("MANIFEST".into(), before["MANIFEST"].clone());
        files
    });
    assert_eq!(golden.1.records.len(), 12);
    assert!(golden.1.tail.starts_with("torn"));
    check("v1-torn", &golden);
}

#[test]
fn v1_checkpoint_and_cut() {
    let golden = load("v1-checkpoint-and-cut", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log);
        log.checkpoint(log.durable()).unwrap();
        let kept = log.append(b"kept").unwrap();
        log.append(b"cut").unwrap();
        log.roll().unwrap();
        log.append(b"cut too").unwrap();
        log.truncate_after(kept).unwrap();
        log.append_durable(b"behind the cut").unwrap();
        copied(dir.path(), &log)
    });
    let payloads: Vec<&[u8]> = golden.1.records.iter().map(|(_, p)| p.as_slice()).collect();
    assert_eq!(payloads, [b"kept".as_slice(), b"behind the cut"]);
    assert!(golden.1.checkpoint > 0);
    check("v1-checkpoint-and-cut", &golden);
}

/// Some in the manifest, some in a segment that is not sealed.
#[test]
fn v1_notes() {
    let golden = load("v1-notes", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.set_metadata(b"term 1").unwrap();
        let first = log.append_durable(b"first").unwrap();
        log.archived_up_to(first).unwrap();
        log.consumer("mailer").unwrap().ack(first).unwrap();
        log.consumer("gone").unwrap();
        log.roll().unwrap();
        let second = log.append_durable(b"second").unwrap();
        log.set_metadata(b"term 2").unwrap();
        log.consumer("indexer").unwrap().ack(second).unwrap();
        log.consumer("gone").unwrap().remove().unwrap();
        log.append_durable(b"third").unwrap();
        copied(dir.path(), &log)
    });
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), &golden.0);
    let log = Log::open(dir.path()).expect(BREAKS);
    let [first, second] = [0, 1].map(|n| Lsn::new(golden.1.records[n].0));
    assert_eq!(
        (log.metadata().unwrap(), log.archived().unwrap()),
        (b"term 2".to_vec(), Some(first)),
        "{BREAKS}"
    );
    let consumers = log.consumers().unwrap();
    let names: Vec<&str> = consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    assert_eq!(names, ["indexer", "mailer"], "{BREAKS}");
    let behind = |lsn: Lsn| Lsn::new(lsn.get() + 16);
    assert_eq!(consumers[0].position, behind(second), "{BREAKS}");
    assert_eq!(consumers[1].position, behind(first), "{BREAKS}");
    drop(log);
    check("v1-notes", &golden);
}

#[test]
fn v1_damaged() {
    let golden = load("v1-damaged", || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log);
        let bad = log.append_durable(b"committed, and then damaged").unwrap();
        log.append_durable(b"it vouches for the one before").unwrap();
        let mut files = copied(dir.path(), &log);
        let (file, at) = place(&files, bad);
        files.get_mut(&file).unwrap()[at + 20] ^= 4;
        files
    });
    assert!(!golden.1.corrupt.is_empty());
    check("v1-damaged", &golden);
}

#[test]
fn the_version_that_is_written_has_its_golden_directories() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    let manifest = fs::read(dir.path().join("MANIFEST")).unwrap();
    let version = u32::from_le_bytes(manifest[8..12].try_into().unwrap());
    if regenerate() {
        return; // they are being written beside this
    }
    for kind in ["closed", "open", "torn", "checkpoint-and-cut", "notes", "damaged"] {
        let path = golden().join(format!("v{version}-{kind}.txt"));
        assert!(path.exists(), "{}", path.display());
    }
}
