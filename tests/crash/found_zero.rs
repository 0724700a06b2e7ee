//! Opening and going on with not a byte free, after a crash and after a close (P7).

use duralog::sim::SimDisk;
use duralog::{Log, Lsn, Options, Tail, WriteMethod};

const SIZE: u64 = 256 << 10;
const WAYS: [WriteMethod; 3] = [WriteMethod::Mmap, WriteMethod::Pwrite, WriteMethod::Auto];

fn options(write: WriteMethod) -> Options {
    Options::new().segment_size(SIZE).spare_segments(0).write_method(write)
}

/// Appends until the disk is full: the LSNs, and everything is durable.
fn fill(log: &Log, len: usize) -> Vec<Lsn> {
    let mut lsns = Vec::new();
    let error = loop {
        match log.append(&vec![7; len]) {
            Ok(lsn) => lsns.push(lsn),
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && !error.is_poisoned(), "{error}");
    log.commit().unwrap();
    lsns
}

/// A disk without a free byte, and the records of the log on it, which was neither closed nor has any file to spare.
fn full_disk(write: WriteMethod, seed: u64) -> (SimDisk, Vec<Lsn>) {
    let disk = SimDisk::new(seed);
    let log = options(write).open_on(&disk).unwrap();
    log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    disk.set_capacity(Some(disk.used()));
    fill(&log, 9000);
    let lsns = log.replay().map(|record| record.unwrap().lsn()).collect();
    disk.set_capacity(Some(disk.used()));
    drop(log);
    (disk, lsns)
}

fn free_nothing(disk: &SimDisk) {
    disk.set_capacity(Some(disk.used()));
}

#[test]
fn p7_a_log_opens_after_a_crash_with_not_a_byte_free() {
    for write in WAYS {
        for draw in 0..4 {
            let (disk, lsns) = full_disk(write, 1);
            let disk = if draw == 0 { disk } else { disk.crash(draw) };
            free_nothing(&disk);
            let log = options(write).open_on(&disk).unwrap();
            assert_eq!(log.replay().count(), lsns.len());
            // What fits in what the reserve had, and one that fits in an empty one only; then the disk is full.
            free_nothing(&disk);
            let more = fill(&log, 5000);
            assert!(more.len() >= 8, "{}", more.len());
            assert!(log.append(&vec![7; 200_000]).unwrap_err().is_full());
            assert_eq!(log.replay().count(), lsns.len() + more.len());
            free_nothing(&disk);
            let given = log.checkpoint(lsns[lsns.len() / 2]).unwrap();
            free_nothing(&disk);
            assert_eq!(given.segments, 1, "{given:?}");
            assert!(log.append(&vec![7; 200_000]).unwrap_err().is_full());
            // There is room: without reopening, in segments of full size, the reserve first.
            disk.set_capacity(None);
            log.append(&vec![7; 200_000]).unwrap();
            log.commit().unwrap();
            let reserve = disk.bytes("RESERVE").unwrap().len();
            assert_eq!(reserve, 512 << 10);
            drop(log);
            let log = options(write).open_on(&disk.crash(3)).unwrap();
            let kept = lsns.iter().chain(&more).filter(|lsn| **lsn >= log.head()).count();
            assert_eq!(log.replay().count(), kept + 1);
        }
    }
}

/// One crash after another, and no one makes room: each takes no more than what was appended.
#[test]
fn p7_a_log_opens_again_and_again_with_not_a_byte_free() {
    for write in WAYS {
        let (mut disk, lsns) = full_disk(write, 1);
        for round in 0..20 {
            free_nothing(&disk);
            let log = options(write).open_on(&disk).unwrap_or_else(|e| panic!("{round}: {e}"));
            let before = log.replay().count();
            assert_eq!(before, lsns.len() + round);
            log.append_durable(&[8; 100]).unwrap();
            free_nothing(&disk);
            drop(log);
            disk = disk.crash(round as u64);
        }
        free_nothing(&disk);
        let log = options(write).open_on(&disk).unwrap();
        log.checkpoint(log.durable()).unwrap();
        assert_eq!(log.replay().count(), 0);
    }
}

#[test]
fn p7_a_log_closes_and_opens_clean_with_not_a_byte_free() {
    for write in WAYS {
        let (disk, lsns) = full_disk(write, 1);
        for small in [false, true] {
            free_nothing(&disk);
            let log = options(write).open_on(&disk).unwrap();
            assert_eq!(log.recovery().tail == Tail::Clean, small);
            assert_eq!(log.replay().count(), lsns.len() + usize::from(small));
            if !small {
                log.append_durable(&[8; 100]).unwrap();
            }
            free_nothing(&disk);
            log.close().unwrap();
        }
        free_nothing(&disk);
        let log = options(write).open_on(&disk).unwrap();
        // With another size: the small one takes what fits, and what does not goes on in a new one.
        let end = log.append(&[9; 100]).unwrap();
        free_nothing(&disk);
        log.close().unwrap();
        disk.set_capacity(None);
        let log = options(write).segment_size(2 * SIZE).open_on(&disk).unwrap();
        assert!(log.append(&[9; 100]).unwrap().get() < end.get() + 200);
        log.append_batch(&[vec![9; 200_000], vec![9; 200_000]]).unwrap();
        log.step().unwrap();
        assert_eq!(log.replay().count(), lsns.len() + 5);
        // The small file is of no use any more.
        log.commit().unwrap();
        log.step().unwrap();
        drop(log);
        let log = options(write).segment_size(2 * SIZE).spare_segments(9).open_on(&disk).unwrap();
        log.checkpoint(log.durable()).unwrap();
        let sizes: Vec<usize> = disk
            .files()
            .iter()
            .filter(|name| name.ends_with(".seg"))
            .map(|name| disk.bytes(name).unwrap().len())
            .collect();
        assert!(sizes.iter().all(|size| *size as u64 == 2 * SIZE), "{sizes:?}");
    }
}

/// Power cuts at each call of an open without a free byte. What the reserve held is taken by no one else meanwhile.
#[test]
fn p7_p9_power_cuts_during_an_open_with_not_a_byte_free() {
    for write in [WriteMethod::Mmap, WriteMethod::Pwrite] {
        let (full, lsns) = full_disk(write, 1);
        let full = full.crash(1);
        free_nothing(&full);
        for cut in 1.. {
            let disk = full.crash(1);
            disk.cut_power_at(cut);
            let opened = options(write).open_on(&disk).is_ok();
            disk.cut_power();
            for draw in 0..6 {
                let disk = disk.crash(draw);
                let log = options(write).open_on(&disk);
                let log = log.unwrap_or_else(|e| panic!("{write:?} cut {cut} draw {draw}: {e}"));
                assert_eq!(log.replay().count(), lsns.len());
                log.append_durable(&[8; 100]).unwrap();
                free_nothing(&disk);
                log.checkpoint(log.durable()).unwrap();
            }
            if opened {
                break;
            }
        }
    }
}
