//! Killed, and the power cut while what was killed is recovered: what recovery reports is on the disk.

use duralog::sim::SimDisk;
use duralog::{Result, WriteMethod};

use super::found::{SIZE, open};

const RECORDS: u8 = 16;

/// A disk whose log was killed with frames in two segments that no sync covered.
fn killed(write: WriteMethod) -> SimDisk {
    let disk = SimDisk::new(1);
    let log = open(&disk, write, 2);
    for n in 0..RECORDS {
        log.append(&[n; 1000]).unwrap();
    }
    assert!(log.end().get() > SIZE, "one segment alone shows nothing");
    drop(log);
    disk
}

fn recover(disk: &SimDisk) -> Result<Vec<u8>> {
    let log = duralog::Options::new().segment_size(SIZE).open_on(disk)?;
    log.replay().map(|record| Ok(record?.payload()[0])).collect()
}

#[test]
fn p1_p2_a_power_cut_at_any_call_of_the_recovery_of_two_unsynced_segments() {
    for write in [WriteMethod::Auto, WriteMethod::Mmap, WriteMethod::Pwrite] {
        for call in 1.. {
            let disk = killed(write);
            disk.cut_power_at(disk.calls() + call);
            let recovered = recover(&disk);
            let whole = recovered.is_ok();
            assert!(!whole || recovered.is_ok_and(|found| found.into_iter().eq(0..RECORDS)), "P4");
            for draw in 0..8 {
                let found = recover(&disk.crash(draw));
                let found = found.unwrap_or_else(|e| panic!("{write:?}, call {call}: {e}"));
                assert!(found.iter().copied().eq(0..found.len() as u8), "P2: {found:?}");
                let all = found.len() == usize::from(RECORDS);
                assert!(all || !whole, "P1: {} of {RECORDS}, call {call}", found.len());
            }
            if whole {
                break;
            }
        }
    }
}
