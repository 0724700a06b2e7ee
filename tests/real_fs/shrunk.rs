//! Sectors that cannot be read: the device ends, from some point on, in the middle of a sealed segment.

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

/// The last page of the image that is nothing but `word`, over and over.
fn last_page(image: &[u8], word: [u8; 4]) -> Option<u64> {
    let is = |page: &[u8]| page.chunks_exact(4).all(|found| found == word);
    image.chunks_exact(4096).rposition(is).map(|page| page as u64 * 4096)
}

fn unreadable(kind: &'static str) {
    let Some(mut disk) = Disk::new(kind) else { return };
    let dir = disk.path().join("log");
    let log = options().open(&dir).unwrap();
    let lsns: Vec<Lsn> = (0..RECORDS).map(|n| log.append(&payload(n)).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    // The record of a full segment that lies last on the disk.
    let sealed = (0..RECORDS).filter(|n| lsns[*n as usize].get() / SEGMENT < 3);
    disk.remount();
    let mut child = process::start("shrunk", &dir, "");
    child.expect("read");
    disk.forget(&dir);
    let image = disk.bytes();
    let at = sealed.step_by(50).filter_map(|n| last_page(&image, word(n))).max().unwrap();
    let rest = disk.shrink(at).unwrap();
    child.say("go");
    let printed = child.finish();
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
