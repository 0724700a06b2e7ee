//! FORMAT.md is enough: a reader written from it alone, in another language, finds the same records, and
//! its worked examples are the bytes that the engine writes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use duralog::{Log, Options, Tail};

fn small() -> Options {
    Options::new().segment_size(16 << 10)
}

/// What the Python reader prints; none where there is no Python.
fn python(dir: &Path) -> Option<(i32, String)> {
    python_with(&[], dir)
}

fn python_with(options: &[&str], dir: &Path) -> Option<(i32, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format_reader.py");
    match Command::new("python3").arg(script).args(options).arg(dir).output() {
        Ok(output) => {
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            Some((output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap()))
        }
        Err(error) => {
            println!("skipped: python3 cannot be run: {error}");
            None
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares before the log is opened, since opening ends an open log.
fn compare(dir: &Path, what: &str) {
    let Some((status, found)) = python(dir) else { return };
    assert_eq!(status, 0, "{what}: {found}");
    let inspector = duralog::inspect::Inspector::open(dir).unwrap();
    let mut records = inspector.records();
    let mut expected = String::new();
    for record in records.by_ref() {
        let record = record.unwrap();
        writeln!(expected, "{}\t{}\t{}", record.lsn, record.payload.len(), hex(&record.payload))
            .unwrap();
    }
    let end = match records.tail().unwrap() {
        Tail::Torn { at } => format!("end\t{at}\ttorn\n"),
        Tail::Unclean { at } => format!("end\t{at}\tunclean\n"),
        _ => format!("end\t{}\tclean\n", inspector.verify().unwrap().end),
    };
    assert!(
        found == expected.clone() + &end,
        "{what}: it ends with {:?}, not {end:?}",
        found.lines().last()
    );
    // And `replay` of the log itself agrees.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let log = small().open(copy.path()).unwrap();
    let replayed = log.replay().map(|r| r.unwrap()).fold(String::new(), |mut text, record| {
        let payload = record.payload();
        writeln!(text, "{}\t{}\t{}", record.lsn(), payload.len(), hex(payload)).unwrap();
        text
    });
    assert!(replayed == expected, "{what}");
}

fn fill(log: &Log, from: u32, count: u32) {
    for n in from..from + count {
        log.append(&n.to_le_bytes().repeat(n as usize % 40)).unwrap();
        if n % 7 == 0 {
            log.commit().unwrap();
        }
        if n % 11 == 0 {
            log.append_batch(&[vec![1; 30], vec![], vec![2; 5]]).unwrap();
        }
    }
}

#[test]
fn a_reader_from_the_document_alone_finds_the_same_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let log = small().open(path).unwrap();
    compare(path, "new and open");
    fill(&log, 0, 600);
    compare(path, "rolled, open");
    log.close().unwrap();
    compare(path, "closed");
    let log = small().open(path).unwrap();
    log.checkpoint(log.durable()).unwrap();
    fill(&log, 600, 300);
    compare(path, "checkpointed and recycled");
    let keep = log.append(b"keep").unwrap();
    log.append(b"cut").unwrap();
    log.truncate_after(keep).unwrap();
    compare(path, "cut back");
    fill(&log, 900, 10);
    let torn = log.append_batch(&[[3u8; 100], [4; 100]]).unwrap();
    compare(path, "open with a batch");
    drop(log);
    let name = duralog::inspect::Inspector::open(path).unwrap();
    let segment = name.summary().segments.iter().rev().find(|s| s.base <= torn[0]).unwrap().clone();
    let file = path.join(&segment.file);
    let mut bytes = std::fs::read(&file).unwrap();
    let offset = usize::try_from(torn[1].get() - segment.base.get()).unwrap();
    bytes[offset + 50] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    compare(path, "torn tail");
    let log = small().open(path).unwrap();
    assert_eq!(log.recovery().tail, Tail::Torn { at: torn[0] });
    fill(&log, 0, 5);
    compare(path, "after recovery");
}

/// What the log says of its notes, as the reader prints them.
fn notes(log: &Log) -> String {
    let mut lines = format!("metadata\t{}\n", hex(&log.metadata().unwrap()));
    if let Some(lsn) = log.archived().unwrap() {
        writeln!(lines, "archived\t{lsn}").unwrap();
    }
    for consumer in log.consumers().unwrap() {
        let name = hex(consumer.name.as_bytes());
        writeln!(lines, "consumer\t{}\t{name}", consumer.position).unwrap();
    }
    lines
}

#[test]
fn the_reader_finds_the_same_notes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = small().open(dir.path()).unwrap();
    for turn in 0..12u8 {
        fill(&log, u32::from(turn), 80);
        log.set_metadata(&vec![turn; usize::from(turn) * 9]).unwrap();
        let consumer = log.consumer(["mailer", "größe", "a"][usize::from(turn) % 3]).unwrap();
        consumer.seek(log.commit().unwrap()).unwrap();
        match turn {
            3 => log.archived_up_to(log.head()).unwrap(),
            5 => drop(log.checkpoint_to_slowest().unwrap()),
            7 => drop(consumer.remove().unwrap()),
            9 => log.stop_archiving().unwrap(),
            _ => {}
        }
        let said = notes(&log);
        if turn % 4 == 1 {
            log.close().unwrap();
        }
        let Some((status, found)) = python_with(&["--notes"], dir.path()) else { return };
        assert_eq!(status, 0, "{found}");
        let lines = found.split_inclusive('\n').filter(|line| !line.starts_with("end"));
        let found: String = lines.filter(|line| line.as_bytes()[0].is_ascii_alphabetic()).collect();
        assert_eq!(found, said, "turn {turn}");
        drop(log);
        log = small().open(dir.path()).unwrap();
        assert_eq!(notes(&log), said, "turn {turn}, opened anew");
    }
}

/// Whether the log has a watermark on this file system; if not, that the test is skipped.
fn has_watermark(dir: &Path) -> bool {
    let there = dir.join("WATERMARK").exists();
    if !there {
        eprintln!("skipped: stores are not safe on this file system, so there is no watermark");
    }
    there
}

/// Nothing but the watermark knows of a group at the end, together with all of its marks.
#[test]
fn p5_the_watermark_vouches_for_what_marks_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    if !has_watermark(dir.path()) {
        return;
    }
    // The last manifest is then one of an empty log.
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
    let lsns: Vec<_> = (0..5u8).map(|n| log.append_durable(&[n; 20]).unwrap()).collect();
    drop(log);
    let file = dir.path().join("0000000000000001.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    let from = usize::try_from(lsns[2].get()).unwrap();
    bytes[from..from + 4096].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let error = small().open(dir.path()).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains(&lsns[2].to_string()), "{error}");
    let found = duralog::inspect::Inspector::open(dir.path()).unwrap().verify().unwrap_err();
    assert_eq!(found.to_string(), error.to_string());
    if let Some((status, found)) = python(dir.path()) {
        assert_eq!((status, found.lines().count()), (1, 3), "{found}");
    }
    // Without it these bytes are a log of two records: no one can tell.
    std::fs::remove_file(dir.path().join("WATERMARK")).unwrap();
    assert_eq!(small().open(dir.path()).unwrap().replay().count(), 2);
}

#[test]
fn p5_a_manifest_of_a_clean_close_is_refused_when_the_log_went_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    if !has_watermark(dir.path()) {
        return;
    }
    log.close().unwrap();
    let old = std::fs::read(dir.path().join("MANIFEST")).unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(b"two").unwrap();
    log.close().unwrap();
    std::fs::write(dir.path().join("MANIFEST"), old).unwrap();
    assert!(small().open(dir.path()).unwrap_err().is_corrupt());
    if let Some((status, _)) = python(dir.path()) {
        assert_eq!(status, 1);
    }
}

#[test]
fn the_reader_names_the_same_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let lsns: Vec<_> = (0..5u8).map(|n| log.append_durable(&[n; 20]).unwrap()).collect();
    drop(log);
    let file = dir.path().join("0000000000000001.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[usize::try_from(lsns[2].get()).unwrap() + 10] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let Some((status, found)) = python(dir.path()) else { return };
    assert_eq!((status, found.lines().count()), (1, 3));
    let last = found.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("damage\t0000000000000001.seg\t{0}\t{0}\t", lsns[2])),
        "{last}"
    );
}

/// CRC-32C bit by bit, so that the examples are checked by other code than the engine's.
fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!start, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (i, line) in bytes.chunks(16).enumerate() {
        let words: Vec<String> = line
            .chunks(8)
            .map(|half| half.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "))
            .collect();
        writeln!(text, "{:04x}  {}", i * 16, words.join("  ")).unwrap();
    }
    text
}

/// The log of the examples: the random id and salt replaced by fixed ones, and every checksum after them.
fn example() -> Option<[Vec<u8>; 4]> {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(b"hello").unwrap();
    if !has_watermark(dir.path()) {
        return None;
    }
    let mut watermark = std::fs::read(dir.path().join("WATERMARK")).unwrap();
    log.append_batch(&["debit 5", "credit 5"]).unwrap();
    log.roll().unwrap();
    log.close().unwrap();
    let mut segment = std::fs::read(dir.path().join("0000000000000001.seg")).unwrap();
    let seed = |s: &[u8]| u32::from_le_bytes(s[72..76].try_into().unwrap());
    segment[24..40].copy_from_slice(b"the log's own id");
    segment[64..72].copy_from_slice(b"saltsalt");
    let sum = crc32c(0, &segment[..72]);
    segment[72..76].copy_from_slice(&sum.to_le_bytes());
    let mut at = 4096;
    while segment[at..at + 8] != [0; 8] {
        let len =
            u32::from_le_bytes(segment[at + 4..at + 8].try_into().unwrap()) as usize & 0x0FFF_FFFF;
        let start = seed(&segment) ^ u32::try_from(at / 8).unwrap();
        let sum = crc32c(start, &segment[at + 4..at + 8 + len]);
        segment[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at += 8 + len.next_multiple_of(8);
    }
    let mut manifest = std::fs::read(dir.path().join("MANIFEST")).unwrap();
    manifest[32..48].copy_from_slice(b"the log's own id");
    // Generations and the ready segment depend on when the background came to them: only the prefix
    // and the fixed part are compared.
    let slot = &mut watermark[512..548];
    slot[8..24].copy_from_slice(b"the log's own id");
    let sum = crc32c(0, &slot[..32]);
    slot[32..].copy_from_slice(&sum.to_le_bytes());
    let slot = slot.to_vec();
    Some([manifest[..48].to_vec(), segment[..80].to_vec(), segment[4096..at + 8].to_vec(), slot])
}

/// With `DURALOG_BLESS=1` it prints the text of section 8 instead of comparing it.
#[test]
fn the_worked_examples_are_what_the_engine_writes() {
    let Some([manifest, header, frames, slot]) = example() else { return };
    let length_known_only_there = manifest[..24].to_vec();
    let text = format!(
        "A manifest begins with its prefix:\n\n```text\n{}```\n\n\
         A segment with id 1, base 0, size 16384, log id `the log's own id` and salt `saltsalt`:\n\n```text\n{}```\n\n\
         and its frames from offset 4096, where `hello` was appended and committed, then a batch of `debit 5` and\n\
         `credit 5`, then the segment was rolled: a record, a mark (durable to 0x1010), a part, a record, the end\n\
         (next is segment 2), and the zero word:\n\n```text\n{}```\n\n\
         The slot of the watermark after that first commit (durable to 0x1010):\n\n```text\n{}```\n",
        dump(&length_known_only_there),
        dump(&header),
        dump(&frames),
        dump(&slot)
    );
    if std::env::var_os("DURALOG_BLESS").is_some() {
        println!("{text}");
        return;
    }
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap();
    assert!(document.contains(&text), "FORMAT.md, section 8, must hold:\n{text}");
}
