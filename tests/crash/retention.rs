//! A log that gives up its oldest segments by itself, and loses power at each call.

use duralog::sim::SimDisk;
use duralog::{Log, Lsn, Options, Result, WhenFull};

use super::found::SIZE;

const CAP: u64 = 3;

fn open(disk: &SimDisk, spare: usize) -> Result<Log> {
    let options = Options::new().segment_size(SIZE).spare_segments(spare);
    options.max_bytes(CAP * SIZE, WhenFull::DropOldest).open_on(disk)
}

fn segments(disk: &SimDisk) -> u64 {
    disk.files().iter().filter(|name| name.ends_with(".seg")).count() as u64
}

#[derive(Default)]
struct Told {
    appended: Vec<Lsn>,
    committed: Lsn,
    checkpoint: Lsn,
}

/// Appends far more than fits, until the power goes.
fn append(disk: &SimDisk, spare: usize, steps: bool, told: &mut Told) -> Result<()> {
    let log = open(disk, spare)?;
    for n in 0..14u8 {
        told.appended.push(log.append(&[n; 5000])?);
        assert!(segments(disk) <= CAP);
        told.checkpoint = log.checkpoint_lsn();
        if n % 3 == 2 {
            told.committed = log.commit()?;
        }
        if steps {
            log.step()?;
        }
        told.checkpoint = log.checkpoint_lsn();
    }
    assert!(told.checkpoint > told.appended[6], "nothing was dropped");
    Ok(())
}

#[test]
fn p10_a_power_cut_while_the_oldest_go_loses_nothing_behind_them() {
    for (spare, steps) in [(0, false), (1, false), (0, true), (1, true)] {
        let whole = SimDisk::new(1);
        append(&whole, spare, steps, &mut Told::default()).unwrap();
        for cut in 1..=whole.calls() {
            let disk = SimDisk::new(cut);
            disk.cut_power_at(cut);
            let mut told = Told::default();
            // By the last calls, which are those of the drop, it may have got through.
            drop(append(&disk, spare, steps, &mut told));
            let disk = disk.crash(cut);
            let log = open(&disk, spare).unwrap();
            let checkpoint = log.checkpoint_lsn();
            assert!(checkpoint >= told.checkpoint, "P10: a checkpoint was forgotten");
            let found: Vec<(Lsn, u8)> =
                log.replay().map(|r| r.unwrap()).map(|r| (r.lsn(), r.payload()[0])).collect();
            for (n, lsn) in told.appended.iter().enumerate() {
                let owed = checkpoint <= *lsn && *lsn < told.committed;
                assert!(!owed || found.contains(&(*lsn, n as u8)), "{n} is lost, cut at {cut}");
            }
            let numbers = found.iter().map(|(_, n)| *n);
            let first = found.first().map_or(0, |(_, n)| *n);
            assert!(numbers.eq((first..).take(found.len())), "a gap, cut at {cut}");
            assert!(segments(&disk) <= CAP + 1, "cut at {cut}");
            log.append_durable(b"it goes on").unwrap();
        }
    }
}
