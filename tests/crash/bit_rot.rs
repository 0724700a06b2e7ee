//! Damage on top of crash states: what was committed is then an error that names it, what was not is at worst a
//! torn tail.

use std::sync::atomic::{AtomicU64, Ordering};

use duralog::sim::SimDisk;
use duralog::{Error, Log};
use proptest::prelude::*;

use super::history::{Run, Way};
use super::model::{End, Kept, Model};
use super::power_cut::{Life, life};
use super::strategies::way;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Word,
    Sector,
    Page,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    PowerCut,
    Kill,
    Close,
}

/// Damages one place of one file; what was done, if that changed anything.
fn damage(disk: &SimDisk, kind: Damage, draw: u64) -> Option<String> {
    // RESERVE has no content; a manifest under way means nothing.
    let files: Vec<_> = disk.files().into_iter().filter(|name| name != "RESERVE").collect();
    let name = files.get(draw as usize % files.len().max(1))?;
    let mut bytes = disk.bytes(name).unwrap();
    // Mostly where something is.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = (draw >> 8) as usize % used.min(bytes.len()).max(1);
    let old = bytes.clone();
    let unit = match kind {
        Damage::Flip => {
            *bytes.get_mut(at)? ^= 1 << (draw >> 60 & 7);
            1
        }
        Damage::Word => 8,
        Damage::Sector => 512,
        Damage::Page => 4096,
    };
    if unit > 1 {
        let start = at / unit * unit;
        let end = (start + unit).min(bytes.len());
        // Zeros, or another part of the same file.
        let other = (draw >> 32) as usize % bytes.len().max(1) / unit * unit;
        let zeros = draw >> 61 & 1 == 0;
        for (i, byte) in bytes[start..end].iter_mut().enumerate() {
            *byte = if zeros { 0 } else { *old.get(other + i).unwrap_or(&0) };
        }
    }
    disk.put(name, &bytes).unwrap();
    (bytes != old).then(|| format!("{kind:?} at {at} of {name}, {} bytes", old.len()))
}

fn replay(log: &Log) -> Result<Vec<Kept>, Error> {
    let kept = |record: duralog::Record| Kept {
        lsn: record.lsn(),
        payload: record.payload().to_vec(),
        ends_batch: true,
    };
    log.replay().map(|record| record.map(kept)).collect()
}

fn judge(way: Way, disk: &SimDisk, model: &Model, end: End, what: &str) -> &'static str {
    match way.open(disk).and_then(|log| replay(&log)) {
        Ok(found) => {
            let mut model = model.clone();
            let sound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                model.compare(&found, end)
            }));
            assert!(sound.is_ok(), "{what} passes for a sound log");
            "harmless"
        }
        Err(Error::Corrupt(damage)) => {
            assert!(!damage.what.is_empty() && damage.lsns.start <= damage.lsns.end);
            "named"
        }
        // A bit of the version, behind a checksum that agrees by chance, would be this.
        Err(error) => panic!("{what} is told as {error}"),
    }
}

fn rot(way: Way, life: &Life, before: Before, kind: Damage, named: &AtomicU64) {
    let mut run = Run::new(way, SimDisk::new(life.draw));
    run.disk.cut_power_at(life.cut + 40);
    run.log = way.open(&run.disk).ok();
    run.live(&life.ops);
    let (disk, owed) = match before {
        Before::PowerCut => {
            run.disk.cut_power();
            // Which sectors were lost with it decides whether more than the last group goes: only where one
            // place of one frame is hit is there always evidence behind it.
            let small = matches!(kind, Damage::Flip | Damage::Word);
            (run.disk.crash(life.draw), if small { End::Rot } else { End::RotOfMuch })
        }
        Before::Kill => {
            run.log = None;
            run.disk.cut_power();
            run.disk.restart();
            (run.disk.clone(), End::PowerCut)
        }
        Before::Close => {
            let closed = run.log.take().is_some_and(|log| log.close().is_ok());
            if closed {
                let all = run.model.records.len();
                (run.model.committed, run.model.committed_before) = (all, all);
            }
            run.disk.cut_power();
            run.disk.restart();
            (run.disk.clone(), End::PowerCut)
        }
    };
    run.log = None;
    for n in 0..8 {
        let disk = disk.crash(u64::MAX); // a copy: nothing is unsynced in a crash state
        let disk = if matches!(before, Before::PowerCut) { disk } else { copy(&run.disk) };
        let Some(what) =
            damage(&disk, kind, life.draw.rotate_left(7 * n).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        else {
            continue;
        };
        if judge(way, &disk, &run.model, owed, &what) == "named" {
            named.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The disk as a process sees it, all of it durable.
fn copy(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new(1);
    for name in disk.files() {
        copy.put(&name, &disk.bytes(&name).unwrap()).unwrap();
    }
    copy
}

#[test]
fn p5_damage_to_what_was_committed_is_named() {
    let kind = prop_oneof![
        Just(Damage::Flip),
        Just(Damage::Word),
        Just(Damage::Sector),
        Just(Damage::Page)
    ];
    let before = prop_oneof![Just(Before::PowerCut), Just(Before::Kill), Just(Before::Close)];
    let (named, tried) = (AtomicU64::new(0), AtomicU64::new(0));
    super::try_many(
        "p5_damage",
        4000,
        &(way(), life(), before, kind),
        |(way, life, before, kind)| {
            tried.fetch_add(8, Ordering::Relaxed);
            rot(way, &life, before, kind, &named);
        },
    );
    let (named, tried) = (named.into_inner(), tried.into_inner());
    eprintln!("{tried} damages on crash states, {named} of them named, the others harmless");
    assert!(named > tried / 10);
}
