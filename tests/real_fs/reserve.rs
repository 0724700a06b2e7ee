//! The log keeps a reserve, so that a checkpoint needs no room; by one thread, where each step is known.

use std::path::Path;
use std::time::{Duration, Instant};

use duralog::{Log, Lsn, Options};

use crate::brim::{fill_disk, free_disk, give_room};
use crate::disk::{Disk, leave};
use crate::full::options;
use crate::process::{self, Task};

const SEGMENT: u64 = 64 << 10;

fn small(how: &str) -> Options {
    options(how).segment_size(SEGMENT)
}

/// Appends until there is no room.
fn append_all(log: &Log, lsns: &mut Vec<Lsn>) {
    let full = loop {
        match log.append(&[9; 1000]) {
            Ok(lsn) => lsns.push(lsn),
            Err(error) => break error,
        }
    };
    assert!(full.is_full() && !full.is_poisoned(), "{full}");
}

/// Not a byte is free, and yet a checkpoint is possible: it gives room for more.
fn checkpoint_makes_room(log: &Log, lsns: &[Lsn], disk: &Path) {
    // A segment that the background thread is just trying to make leaves its room behind once.
    for _ in 0..3 {
        fill_disk(disk);
        assert!(log.append(&[9; SEGMENT as usize / 2]).unwrap_err().is_full());
    }
    let kept = lsns[lsns.len() / 2];
    log.checkpoint(kept).unwrap();
    assert!(log.head().get() >= lsns[0].get() + 3 * SEGMENT, "{}", log.head());
    // A segment that the background thread is just syncing goes when it has done so.
    let begin = Instant::now();
    let more = loop {
        match log.append_durable(b"there is room again") {
            Err(error) if error.is_full() && begin.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => break done.unwrap(),
        }
    };
    assert_eq!(log.read(more).unwrap().payload(), b"there is room again");
}

/// Some rounds, each with a log of its own, on an empty disk: how much of a full one is left to no one differs from
/// time to time (xfs: 5 to 46 blocks), and so does which thread meets it.
fn rounds(disk: &Path, round: impl Fn(&Path)) {
    for n in 0..6 {
        leave(disk, 2 << 20);
        let dir = disk.join(format!("log-{n}"));
        round(&dir);
        free_disk(disk);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

fn one_round(disk: &Path, dir: &Path, how: &str) {
    let log = small(how).open(dir).unwrap();
    let mut lsns = Vec::new();
    append_all(&log, &mut lsns);
    // All that was appended can be made durable and read, and the error stays an error.
    log.commit().unwrap();
    assert_eq!(log.replay().count(), lsns.len());
    assert!(log.append(&[9; 1000]).unwrap_err().is_full());
    checkpoint_makes_room(&log, &lsns, disk);
    drop(log);
    let log = small(how).open(dir).unwrap();
    let kept = lsns.len() / 2;
    assert_eq!(log.replay_from(lsns[kept]).unwrap().count(), lsns.len() - kept + 1);
}

/// A segment that just fits leaves no room for the manifest that names it. If that takes the reserve, a
/// checkpoint has none.
fn not_spent(disk: &Path, dir: &Path) {
    let log = small("auto").open(dir).unwrap();
    let mut lsns = Vec::new();
    while lsns.len() < 400 {
        lsns.push(log.append(&[1; 1000]).unwrap());
    }
    fill_disk(disk);
    append_all(&log, &mut lsns);
    give_room(disk, SEGMENT);
    append_all(&log, &mut lsns);
    log.commit().unwrap();
    checkpoint_makes_room(&log, &lsns, disk);
}

/// A kill between the two system calls that make the reserve leaves it without blocks.
fn left_empty(disk: &Path, dir: &Path) {
    small("auto").open(dir).unwrap().close().unwrap();
    std::fs::File::create(dir.join("RESERVE")).unwrap();
    let log = small("auto").open(dir).unwrap();
    let mut lsns = Vec::new();
    append_all(&log, &mut lsns);
    log.commit().unwrap();
    checkpoint_makes_room(&log, &lsns, disk);
}

/// Someone has the reserve open (a backup, a child that is being forked): to remove its name gives nothing back.
fn held(disk: &Path, dir: &Path) {
    let log = small("auto").open(dir).unwrap();
    let mut lsns = Vec::new();
    append_all(&log, &mut lsns);
    log.commit().unwrap();
    let _held = std::fs::File::open(dir.join("RESERVE")).unwrap();
    checkpoint_makes_room(&log, &lsns, disk);
}

/// In a process that forks no one: until a child executes its program it holds copies of all our descriptors, and
/// with them the blocks of files that were removed.
pub fn child(task: &Task) {
    let disk = task.dir.as_path();
    match task.how.as_str() {
        "not_spent" => rounds(disk, |dir| not_spent(disk, dir)),
        "left_empty" => rounds(disk, |dir| left_empty(disk, dir)),
        "held" => rounds(disk, |dir| held(disk, dir)),
        how => rounds(disk, |dir| one_round(disk, dir, how)),
    }
}

fn run(kind: &'static str, how: &str) {
    let Some(disk) = Disk::new(kind) else { return };
    process::run("reserve", &disk.path(), how);
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_tmpfs() {
    run("tmpfs", "mmap");
    run("tmpfs", "pwrite");
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_ext4() {
    run("ext4", "mmap");
    run("ext4", "pwrite");
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_xfs() {
    run("xfs", "auto");
}

#[test]
fn p7_the_reserve_is_not_spent_on_appends() {
    run("tmpfs", "not_spent");
}

#[test]
fn p7_a_reserve_that_a_kill_left_empty_is_filled_again() {
    run("tmpfs", "left_empty");
}

#[test]
fn p7_a_reserve_that_someone_has_open_is_given_back() {
    run("tmpfs", "held");
    run("ext4", "held");
    run("xfs", "held");
}
