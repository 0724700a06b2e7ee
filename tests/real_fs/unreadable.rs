//! Recovery meets sectors that cannot be read. Of a committed log whose process was killed, `open`, a replay and
//! `verify` say an error or all of it, never less; and when the sectors can be read again, all is there.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::Path;

use duralog::inspect::{Found, Inspector, Salvage};
use duralog::{Error, Log, Lsn, Options};

use crate::disk::Disk;
use crate::process::{self, Task};
use crate::served::PAGE;

const SEGMENT: u64 = 256 << 10;
/// Several pages.
const RECORD: usize = 12_000;
const RECORDS: u32 = 60;

fn options() -> Options {
    Options::new().segment_size(SEGMENT).spare_segments(0)
}

/// Its whole pages are like no others.
fn payload(n: u32) -> Vec<u8> {
    n.wrapping_add(1).wrapping_mul(2_654_435_761).to_le_bytes().repeat(RECORD / 4)
}

/// Writes a log and waits to be killed. The last records were never committed.
pub fn write(task: &Task) {
    let log = options().open(&task.dir).unwrap();
    for n in 0..RECORDS {
        log.append(&payload(n)).unwrap();
        if n % 10 == 9 && n + 1 < RECORDS {
            log.commit().unwrap();
        }
    }
    // The background thread has nothing left to write.
    while log.stats().segments_ready == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!("\nwritten");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn expect_io(of: &str, error: &Error) {
    assert!(matches!(error, Error::Io { .. }), "{of}: {error}");
    println!("\nerror of {of}: {error}");
}

/// A page that cannot be read takes the records with it that it belongs to, no others.
fn salvage(dir: &Path) {
    let mut numbers = Vec::new();
    for found in Salvage::open(dir).unwrap() {
        let record = match found {
            Found::Record(record) => record,
            Found::Doubtful(doubtful) => doubtful.record,
            _ => continue,
        };
        let number = (0..RECORDS).find(|n| record.payload == payload(*n));
        numbers.push(number.unwrap_or_else(|| panic!("{} was not appended", record.lsn)));
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers.len() as u32 >= RECORDS - 2, "{numbers:?}");
}

/// What each way to read the log says of it, on a line of its own.
pub fn look(task: &Task) {
    salvage(&task.dir);
    match Inspector::open(&task.dir).and_then(|inspector| inspector.verify()) {
        Ok(found) => assert_eq!(found.records, u64::from(RECORDS), "said to be sound"),
        Err(error) => expect_io("verify", &error),
    }
    let log = match options().open(&task.dir) {
        Ok(log) => log,
        Err(error) => return expect_io("open", &error),
    };
    let mut n = 0;
    for record in &log {
        match record {
            Ok(record) => assert!(record.payload() == payload(n), "record {n} has changed"),
            Err(error) => return expect_io("replay", &error),
        }
        n += 1;
    }
    assert_eq!(n, RECORDS, "a shorter log");
    println!("\nall is there");
}

/// A page of a file of the log.
#[derive(Debug)]
struct Page {
    file: String,
    number: u64,
}

/// The file that holds `lsn`, and where in it.
fn place(dir: &Path, lsn: Lsn) -> (String, u64) {
    let inspector = Inspector::open(dir).unwrap();
    let mut segments = inspector.summary().segments.iter().rev();
    let segment = segments.find(|segment| segment.base <= lsn).unwrap();
    (segment.file.clone(), lsn.get() - segment.base.get())
}

/// Pages whose loss each way to read the log is to notice, or need not; those of open segments first, since a log
/// that can be opened is changed by it.
fn pages(dir: &Path) -> Vec<Page> {
    let inspector = Inspector::open(dir).unwrap();
    let lsns: Vec<Lsn> = inspector.records().map(|record| record.unwrap().lsn).collect();
    assert_eq!(lsns.len(), RECORDS as usize);
    // Behind the tail, what an unfinished append may leave: else that page is like all that are not used yet.
    let (file, offset) = place(dir, *lsns.last().unwrap());
    let behind = (offset + RECORD as u64).next_multiple_of(PAGE as u64) + PAGE as u64;
    let segment = std::fs::File::options().write(true).open(dir.join(&file)).unwrap();
    segment.write_all_at(&payload(RECORDS)[..PAGE], behind).unwrap();
    let mut pages = vec![Page { file, number: behind / PAGE as u64 }];
    let whole = |file: &str| Page { file: file.into(), number: 0 };
    pages.extend(["MANIFEST", "WATERMARK"].map(whole));
    pages.extend(inspector.summary().segments.iter().rev().map(|found| whole(&found.file)));
    // The last that was never committed, the last that was, and one of each segment.
    for n in [RECORDS - 1, RECORDS - 11, 45, 30, 3] {
        let (file, offset) = place(dir, lsns[n as usize]);
        pages.push(Page { file, number: offset / PAGE as u64 + 1 });
    }
    pages
}

/// Where in the image a page stands: all places, since a file that was replaced may have had the same one.
fn places(dir: &Path, image: &[u8], page: &Page) -> BTreeSet<usize> {
    let Ok(file) = std::fs::read(dir.join(&page.file)) else { return BTreeSet::new() };
    let mut bytes: Vec<u8> =
        file.into_iter().skip(page.number as usize * PAGE).take(PAGE).collect();
    bytes.resize(PAGE, 0);
    if bytes.iter().all(|byte| *byte == 0) {
        return BTreeSet::new();
    }
    let found = image.chunks_exact(PAGE).enumerate().filter(|(_, found)| *found == bytes);
    found.map(|(n, _)| n * PAGE).collect()
}

fn unreadable(kind: &'static str, least: usize) {
    let Some(mut disk) = Disk::that_fails(kind) else { return };
    let dir = disk.path().join("log");
    let mut child = process::start("write", &dir, "");
    child.expect("written");
    child.kill();
    let pages = pages(&dir);
    let mut errors = 0;
    for page in &pages {
        disk.unmount();
        let image = disk.bytes();
        disk.mount().unwrap();
        let places = places(&dir, &image, page);
        disk.unmount();
        for place in &places {
            disk.served().spoil(*place);
        }
        disk.mount().unwrap();
        let printed = process::run("look", &dir, "");
        disk.unmount();
        let hits = disk.served().heal();
        disk.mount().unwrap();
        assert!(hits > 0 || printed.contains("all is there"), "{page:?}: {printed}");
        errors += usize::from(printed.contains("error of "));
    }
    // btrfs keeps small files with its metadata, and a copy of that.
    assert!(errors >= least, "{errors} of {}: {pages:?}", pages.len());
    assert!(process::run("look", &dir, "").contains("all is there"));
    let log: Log = options().open(&dir).unwrap();
    log.append_durable(b"more").unwrap();
    log.close().unwrap();
}

#[test]
fn p5_p7_recovery_meets_unreadable_sectors_on_ext4() {
    unreadable("ext4", 11);
}

#[test]
fn p5_p7_recovery_meets_unreadable_sectors_on_xfs() {
    unreadable("xfs", 10);
}

#[test]
fn p5_p7_recovery_meets_unreadable_sectors_on_btrfs() {
    unreadable("btrfs", 9);
}
