//! Sectors that cannot be read: the device ends, from some point on, in the middle of a sealed segment.

use std::io::{BufRead, Write};

use duralog::{Error, Log, Lsn, Options};

use crate::disk::Disk;
use crate::process::{self, Task};

const SEGMENT: u64 = 4 << 20;
const RECORD: usize = 16_000;
const RECORDS: u32 = 1000;

fn options() -> Options {
    Options::new().segment_size(SEGMENT).spare_segments(0)
}

/// By which a record's pages are found again in the image.
fn word(n: u32) -> [u8; 4] {
    n.wrapping_add(1).wrapping_mul(2_654_435_761).to_le_bytes()
}

fn payload(n: u32) -> Vec<u8> {
    word(n).repeat(RECORD / 4)
}

fn replayed(log: &Log) -> Result<u32, (u32, Error)> {
    let mut n = 0;
    for record in log {
        let record = record.map_err(|error| (n, error))?;
        assert!(record.payload() == payload(n), "record {n} has changed");
        n += 1;
    }
    Ok(n)
}

/// Reads a log, whole the first time; then the device is cut.
pub fn child(task: &Task) {
    let log = options().open(&task.dir).unwrap();
    assert_eq!(replayed(&log).unwrap(), RECORDS);
    // The background thread has nothing left to write.
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
    println!("\nread");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let (n, error) = replayed(&log).unwrap_err();
    assert!(n < RECORDS && matches!(error, Error::Io { .. }), "after {n}: {error}");
    println!("\nerror: {error}");
}

fn unreadable(kind: &str) {
    let Some(disk) = Disk::new(kind) else { return };
    let dir = disk.path().join("log");
    let log = options().open(&dir).unwrap();
    let lsns: Vec<Lsn> = (0..RECORDS).map(|n| log.append(&payload(n)).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    // The record of a full segment that lies last on the disk.
    let sealed = (0..RECORDS).filter(|n| lsns[*n as usize].get() / SEGMENT < 3);
    disk.remount();
    let mut child = process::start("shrunk", &dir, "");
    let mut printed = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != "read" {
        line.clear();
        assert_ne!(printed.read_line(&mut line).unwrap(), 0, "the child ended early");
    }
    disk.forget(&dir);
    let at = sealed.step_by(50).filter_map(|n| disk.find(word(n))).max().unwrap();
    let rest = disk.shrink(at).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.stdout = Some(printed.into_inner());
    let printed = process::finish(child);
    disk.extend(at, &rest).unwrap();
    assert!(printed.contains("error: "));
    // The sectors can be read again: nothing was lost by the error.
    disk.remount();
    assert_eq!(replayed(&options().open(&dir).unwrap()).unwrap(), RECORDS);
}

#[test]
fn p7_an_unreadable_sector_is_an_error_on_ext4() {
    unreadable("ext4");
}

#[test]
fn p7_an_unreadable_sector_is_an_error_on_xfs() {
    unreadable("xfs");
}

#[test]
fn p7_an_unreadable_sector_is_an_error_on_btrfs() {
    unreadable("btrfs");
}
