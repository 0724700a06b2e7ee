//! Segments of which only the beginning is written before they are used.

use std::ops::Range;

use duralog::sim::{Call, SimDisk, Unwritten};
use duralog::{Log, Options, WriteMethod};

fn open(disk: &SimDisk, method: WriteMethod) -> Log {
    let options = Options::new().segment_size(64 << 10).spare_segments(1).write_method(method);
    options.open_on(disk).unwrap()
}

const METHODS: [WriteMethod; 3] = [WriteMethod::Auto, WriteMethod::Mmap, WriteMethod::Pwrite];

/// A block that ext4 could not mark as written, or marked in a journal that was aborted, reads as zero after a crash, and
/// fdatasync succeeds. Met first by `real_fs p1_p7_ext4_whose_journal_aborts_is_an_error_and_loses_nothing`.
#[test]
fn p1_blocks_that_the_file_system_leaves_unwritten_are_not_durable() {
    left_unwritten(Unwritten::Left);
}

#[test]
fn p1_blocks_that_the_file_system_forgets_to_be_written_are_not_durable() {
    left_unwritten(Unwritten::Forgotten);
}

fn left_unwritten(becomes: Unwritten) {
    let mut failed = 0;
    for method in METHODS {
        for seed in 0..120_u64 {
            let disk = SimDisk::new(seed);
            let log = open(&disk, method);
            let mut acknowledged = 0;
            for n in 0..300_u64 {
                if n == seed {
                    disk.set_unwritten(becomes);
                }
                if seed % 3 != 0 && n % (1 + seed % 7) == 0 && log.step().is_err() {
                    break;
                }
                let len = if seed % 5 == 0 { 5000 } else { 200 + usize::try_from(seed).unwrap() };
                let mut payload = vec![7; len];
                payload[..8].copy_from_slice(&n.to_le_bytes());
                if seed % 4 == 1 && n % 20 != 0 {
                    // Many between two syncs.
                    if log.append(&payload).is_err() {
                        break;
                    }
                    continue;
                }
                if let Err(error) = log.append_durable(&payload) {
                    // Else it was a segment that could not be made: nothing is in doubt, and there is room for a smaller record.
                    if error.is_poisoned() {
                        assert!(log.append(b"more").is_err() && log.commit().is_err());
                        failed += 1;
                    }
                    break;
                }
                acknowledged = n + 1;
            }
            drop(log);
            let log = open(&disk.crash(seed), method);
            let found: Vec<u64> = log
                .replay()
                .map(|r| u64::from_le_bytes(*r.unwrap().payload().first_chunk().unwrap()))
                .collect();
            assert!(found.len() as u64 >= acknowledged, "{method:?} {seed}: {}", found.len());
            assert!(found.iter().copied().eq(0..found.len() as u64));
        }
    }
    assert!(failed > 20, "{failed}: or this shows nothing");
}

/// What is filled ahead is filled for an appender that commits often, is fresh for one that does not, and its
/// bytes are the same.
#[test]
fn p2_what_is_filled_ahead_is_behind_what_is_appended() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Auto);
    let (mut written, mut filled) = (Vec::new(), 0);
    for n in 0..4000_u32 {
        let payload = n.to_le_bytes().repeat(1 + n as usize % 40);
        if n / 100 % 3 == 0 {
            log.append_durable(&payload).unwrap();
        } else {
            log.append(&payload).unwrap();
        }
        if n % 7 == 0 {
            let before = disk.count(Call::Open);
            log.step().unwrap();
            // A file is opened anew to write to it directly.
            filled += u32::from(disk.count(Call::Open) > before);
        }
        written.push(payload);
    }
    let read: Vec<Vec<u8>> = log.replay().map(|r| r.unwrap().payload().to_vec()).collect();
    assert_eq!(read, written);
    assert!(filled > 10, "{filled}: or this shows nothing");
    log.close().unwrap();
    drop(log);
    // Reopened in the middle of a segment: what is behind the end is filled again, as it is asked for.
    let log = open(&disk, WriteMethod::Auto);
    for n in 0..200_u32 {
        log.append_durable(&n.to_le_bytes().repeat(30)).unwrap();
        log.step().unwrap();
        written.push(n.to_le_bytes().repeat(30));
    }
    let read: Vec<Vec<u8>> = log.replay().map(|r| r.unwrap().payload().to_vec()).collect();
    assert_eq!(read, written);
}

/// Appends the numbers one by one, waiting for each, until one fails: where it ended.
fn append_durably(log: &Log, mut numbers: Range<u64>) -> u64 {
    let end = numbers.end;
    numbers.find(|n| log.append_durable(&n.to_le_bytes().repeat(30)).is_err()).unwrap_or(end)
}

fn assert_there(disk: &SimDisk, acknowledged: u64, which: &str) {
    for draw in 0..4 {
        let log = open(&disk.crash(draw), WriteMethod::Auto);
        let found = log.replay().map(|r| r.unwrap().payload().first_chunk().copied().unwrap());
        let found: Vec<u64> = found.map(u64::from_le_bytes).collect();
        assert!(found.len() as u64 >= acknowledged, "{which}: {} of {acknowledged}", found.len());
        assert!(found.iter().copied().eq(0..found.len() as u64), "{which}");
    }
}

/// A log that was written by `pwrite`, opened for stores alone: what was only allocated is filled for them, and counts as
/// written from then on.
#[test]
fn p1_blocks_that_an_open_fills_for_stores_are_proven_to_be_written() {
    for becomes in [Unwritten::Left, Unwritten::Forgotten] {
        let disk = SimDisk::new(1);
        let log = open(&disk, WriteMethod::Auto);
        assert_eq!(append_durably(&log, 0..50), 50);
        log.close().unwrap();
        drop(log);
        disk.set_unwritten(becomes);
        let options = Options::new().segment_size(64 << 10).write_method(WriteMethod::Mmap);
        let opened = options.open_on(&disk);
        let refused = opened.is_err();
        let acknowledged = opened.map_or(50, |log| append_durably(&log, 50..100));
        assert_there(&disk, acknowledged, &format!("{becomes:?}"));
        assert!(refused, "{becomes:?}");
    }
}
