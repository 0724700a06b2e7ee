//! Damage at rest: whatever happens to the files of a cleanly closed log is found, or harmless; never wrong
//! data, never silently fewer records (P5, P11).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::path::Path;

use duralog::{Error, Options};

type Files = BTreeMap<String, Vec<u8>>;

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// A log of a few segments that went through rolls, a checkpoint, recycling and a cut; and its records.
fn sound() -> (Files, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    for n in 0..200u32 {
        log.append_durable(&n.to_le_bytes().repeat(n as usize % 60)).unwrap();
    }
    log.checkpoint(log.durable()).unwrap();
    for n in 0..150u32 {
        log.append(&n.to_le_bytes().repeat(n as usize % 50)).unwrap();
    }
    let keep = log.append_batch(&[[1u8; 100], [2; 100]]).unwrap()[1];
    log.append(b"cut away").unwrap();
    log.truncate_after(keep).unwrap();
    log.append(b"the end").unwrap();
    log.close().unwrap();
    let records = log_records(dir.path()).unwrap();
    (read_dir(dir.path()), records)
}

fn read_dir(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    entries
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn write_dir(dir: &Path, files: &Files) {
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
}

fn log_records(dir: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let log = options().open(dir)?;
    let records =
        log.replay().map(|r| r.map(|r| r.payload().to_vec())).collect::<Result<_, _>>()?;
    Ok(records)
}

fn is_told(error: &Error) -> bool {
    error.is_corrupt() || matches!(error, Error::NoLog { .. } | Error::NotALog { .. })
}

/// Damage is told, by both ways to read, or nothing is missing and nothing else is there.
fn check(files: &Files, records: &[Vec<u8>], what: &str) {
    let dir = in_memory();
    write_dir(dir.path(), files);
    let inspected = duralog::inspect::Inspector::open(dir.path())
        .and_then(|inspector| inspector.records().map(|r| r.map(|r| r.payload)).collect());
    for found in [inspected, log_records(dir.path())] {
        match found {
            Ok(found) => assert!(found == records, "{what}: {} records came back", found.len()),
            Err(error) => assert!(is_told(&error), "{what}: {error}"),
        }
    }
}

/// Thousands of small directories: in memory, where the system has a file system for that.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn p5_p11_flipped_bits_are_found_or_harmless() {
    let (files, records) = sound();
    assert!(records.len() > 100);
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "RESERVE") {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        // Every byte of the structures, and a stride that visits every position of a frame.
        let dense = if name == "MANIFEST" { used } else { 80 };
        for at in (0..dense).chain((4096..used).step_by(37)) {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            check(&damaged, &records, &format!("bit {} of byte {at} of {name}", at % 8));
        }
    }
}

#[test]
fn p5_p11_zeroed_and_misplaced_ranges_are_found_or_harmless() {
    let (files, records) = sound();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        for at in (0..bytes.len()).step_by(512) {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at..at + 512].fill(0);
            check(&damaged, &records, &format!("sector at {at} of {name} zeroed"));
        }
        for (from, to) in [(0, 4096), (4096, 8192), (8192, 4096), (4096, 12288)] {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap().copy_within(from..from + 4096, to);
            check(&damaged, &records, &format!("page {from} of {name} written to {to}"));
        }
    }
}

#[test]
fn p5_p11_files_removed_truncated_grown_or_swapped_are_found_or_harmless() {
    let (files, records) = sound();
    let names: Vec<&String> = files.keys().collect();
    for name in &names {
        let mut damaged = files.clone();
        damaged.remove(*name);
        check(&damaged, &records, &format!("{name} removed"));
        for len in [0, 1, 100, 4096, 5000] {
            let mut damaged = files.clone();
            damaged.get_mut(*name).unwrap().truncate(len);
            check(&damaged, &records, &format!("{name} truncated to {len}"));
        }
        let mut damaged = files.clone();
        damaged.get_mut(*name).unwrap().extend([0xA5; 5000]);
        check(&damaged, &records, &format!("{name} grown"));
        for other in &names {
            let mut damaged = files.clone();
            damaged.insert((*name).clone(), files[*other].clone());
            check(&damaged, &records, &format!("{name} replaced by {other}"));
        }
    }
}

#[test]
fn p5_an_old_manifest_is_refused_while_segments_hold_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    log.close().unwrap();
    let old = std::fs::read(dir.path().join("MANIFEST")).unwrap();
    let log = options().open(dir.path()).unwrap();
    for n in 0..100u32 {
        log.append_durable(&[n as u8; 1000]).unwrap();
    }
    log.close().unwrap();
    std::fs::write(dir.path().join("MANIFEST"), old).unwrap();
    // The watermark knows it, and without one the segments do.
    for watermark in [true, false] {
        if !watermark {
            // Not on every file system is there one.
            drop(std::fs::remove_file(dir.path().join("WATERMARK")));
        }
        let before = read_dir(dir.path());
        assert!(log_records(dir.path()).unwrap_err().is_corrupt());
        assert!(read_dir(dir.path()) == before, "nothing was changed");
    }
}
