//! What a cleanly closed log reads in behind its opening: only what appends will come to, and a piece at a time, so that nothing
//! waits for all of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use duralog::sim::{Call, SimDisk};
use duralog::{Log, Options, WriteMethod};

const SIZE: u64 = 4 << 20;
/// What the engine reads at once, and in one round.
const READ: u64 = 256 << 10;
const PIECE: u64 = 2 << 20;

fn open(disk: &SimDisk, way: WriteMethod) -> Log {
    Options::new().segment_size(SIZE).write_method(way).open_on(disk).unwrap()
}

/// The reads of each round after a clean opening of a log of about so many bytes, until there are none.
fn rounds(way: WriteMethod, bytes: u64) -> Vec<u64> {
    let disk = SimDisk::new(1);
    let log = open(&disk, way);
    while log.end().get() < bytes {
        log.append(&vec![7; 500_000]).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let log = open(&disk, way);
    let round = || {
        let before = disk.count(Call::Read);
        log.step().unwrap();
        disk.count(Call::Read) - before
    };
    let rounds = std::iter::repeat_with(round).take_while(|reads| *reads > 0).collect();
    log.append_durable(b"on").unwrap();
    rounds
}

#[test]
fn a_clean_opening_is_followed_by_reads_of_what_lies_ahead_alone() {
    let (new, full) = (rounds(WriteMethod::Mmap, 1), rounds(WriteMethod::Mmap, SIZE - PIECE / 2));
    let sum = |rounds: &[u64]| rounds.iter().sum::<u64>();
    assert!(sum(&new) >= SIZE / READ, "{new:?}");
    assert!(sum(&full) <= PIECE / READ, "{full:?}");
    // What was never written needs no read.
    let fresh = rounds(WriteMethod::Auto, 1);
    assert!(sum(&fresh) <= PIECE / READ, "{fresh:?}");
}

#[test]
fn what_lies_ahead_is_read_in_pieces() {
    let rounds = rounds(WriteMethod::Mmap, 1);
    assert!(rounds.len() as u64 >= SIZE / PIECE, "{rounds:?}");
    assert!(rounds.iter().all(|reads| *reads <= PIECE / READ), "{rounds:?}");
}
