//! Damage on top of crash states, held record by record: what stands before the damage comes back exactly, or there
//! is an error that names it; what any evidence vouches for is never cut in silence; what nothing vouches for is at
//! worst a torn tail. The evidence is read from the damaged bytes by FORMAT.md alone (`evidence.rs`), not by the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use duralog::inspect::Inspector;
use duralog::sim::SimDisk;
use duralog::{Error, Log, WriteMethod};
use proptest::prelude::*;

use super::evidence::{Evidence, Frame, frames};
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
    /// Any bytes, any number of them.
    Garbage,
    /// Another file's bytes at the same place: a misdirected write.
    Misdirected,
    Shorter,
    Longer,
    Gone,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    PowerCut,
    Kill,
    Close,
}

type Files = BTreeMap<String, Vec<u8>>;

fn files_of(disk: &SimDisk) -> Files {
    disk.files().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

/// splitmix64: what a draw decides after another.
fn next(draw: &mut u64) -> usize {
    *draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*draw ^ (*draw >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as usize >> 1
}

/// Damages one place of one file, and says which.
fn damage(files: &Files, kind: Damage, mut draw: u64) -> (String, Option<Vec<u8>>) {
    // RESERVE has no content.
    let names: Vec<_> = files.keys().filter(|name| *name != "RESERVE").collect();
    let name = names[next(&mut draw) % names.len()];
    let old = &files[name];
    let mut bytes = old.clone();
    // Mostly where something is.
    let used = old.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let within = if next(&mut draw) % 8 == 0 { old.len() } else { used };
    let at = next(&mut draw) % within.max(1);
    let whole = |unit: usize| at / unit * unit..(at / unit * unit + unit).min(old.len());
    let place = match kind {
        Damage::Flip => at..(at + 1).min(old.len()),
        Damage::Word => whole(8),
        Damage::Sector => whole(512),
        Damage::Page | Damage::Misdirected => whole(4096),
        Damage::Garbage => at..(at + 1 + next(&mut draw) % 5000).min(old.len()),
        Damage::Shorter => {
            bytes.truncate(at);
            return (name.clone(), Some(bytes));
        }
        Damage::Longer => {
            bytes.resize(old.len() + 1 + at, next(&mut draw) as u8);
            return (name.clone(), Some(bytes));
        }
        Damage::Gone => return (name.clone(), None),
    };
    let (zeros, from) = (next(&mut draw) % 2 == 0, next(&mut draw) % old.len().max(1) / 512 * 512);
    let other = &files[names[next(&mut draw) % names.len()]];
    for (i, at) in place.enumerate() {
        bytes[at] = match kind {
            Damage::Flip => old[at] ^ 1 << (next(&mut draw) % 8),
            Damage::Garbage => next(&mut draw) as u8,
            Damage::Misdirected => other.get(at).copied().unwrap_or(0),
            _ if zeros => 0,
            _ => old.get(from + i).copied().unwrap_or(0),
        };
    }
    (name.clone(), Some(bytes))
}

fn replay(log: &Log) -> Result<Vec<Kept>, Error> {
    let kept = |record: duralog::Record| Kept {
        lsn: record.lsn(),
        payload: record.payload().to_vec(),
        ends_batch: true,
    };
    log.replay().map(|record| record.map(kept)).collect()
}

/// A log at rest, sound: its bytes, what they say, and the records in them.
struct Rest {
    way: Way,
    files: Files,
    records: Vec<Kept>,
    frames: Vec<Frame>,
    model: Model,
    owed: End,
}

impl Rest {
    /// A power cut alone is never damage.
    fn of(way: Way, disk: &SimDisk, mut model: Model, before: End, owed: End) -> Rest {
        let files = files_of(disk);
        let log = way.open(&disk.crash(0)).unwrap_or_else(|error| panic!("undamaged: {error}"));
        let records = replay(&log).unwrap();
        model.settle_a_reset(&log);
        model.clone().compare(&records, before);
        let frames = frames(&files);
        // The reader of the test knows every record that the engine found.
        for kept in &records {
            let known = frames.iter().any(|f| f.lsn == kept.lsn.get() && f.is_record());
            assert!(known, "record {} is none by FORMAT.md", kept.lsn);
        }
        Rest { way, files, records, frames, model, owed }
    }

    /// Damages it once, and holds what becomes of it against what must.
    fn suffer(&self, disk: &SimDisk, kind: Damage, draw: u64) -> Option<bool> {
        let (name, bytes) = damage(&self.files, kind, draw);
        if bytes.as_ref() == self.files.get(&name) {
            return None;
        }
        let disk = disk.crash(0); // a copy: nothing is unsynced in it
        match &bytes {
            Some(bytes) => disk.put(&name, bytes).unwrap(),
            None => disk.remove(&name).unwrap(),
        }
        let hurt = files_of(&disk);
        let changed = changed(&self.files[&name], bytes.as_deref());
        let what = format!("{kind:?} of {name}, bytes {changed:?} of {}", self.files[&name].len());
        let (mut opened, outcome) = (false, self.way.open(&disk));
        let outcome = outcome.and_then(|log| {
            opened = true;
            replay(&log)
        });
        if draw % 32 == 0 {
            verify(&hurt, &outcome, &what);
        }
        match outcome {
            Ok(found) => self.harmless(&hurt, &name, &changed, &found, &what),
            Err(Error::Corrupt(error)) => {
                let same = opened || files_of(&disk) == hurt;
                assert!(same, "{what}: an open that refused it has changed something");
                self.named(&hurt, &name, &changed, &error, &what);
                return Some(true);
            }
            Err(error) => panic!("{what} is told as {error}"),
        }
        Some(false)
    }

    /// No error: then nothing is missing but what lies behind the damage, and no evidence vouches for that.
    fn harmless(
        &self,
        hurt: &Files,
        name: &str,
        changed: &std::ops::Range<usize>,
        found: &[Kept],
        what: &str,
    ) {
        let same = |(a, b): &(&Kept, &Kept)| a.lsn == b.lsn && a.payload == b.payload;
        let kept = found.iter().zip(&self.records).take_while(same).count();
        assert!(kept == found.len(), "{what}: a record that was not there: {:?}", found[kept].lsn);
        self.model.clone().compare(found, self.owed);
        let Some(lost) = self.records.get(kept).map(|record| record.lsn.get()) else { return };
        let evidence = Evidence::of(hurt).unwrap_or_else(|| panic!("{what}: without a manifest"));
        let vouched = evidence.vouched();
        assert!(lost >= vouched, "{what}: record {lost} is gone in silence, {vouched} was durable");
        let sealed = evidence.is_bounded(lost);
        assert!(!sealed, "{what}: record {lost} is gone in silence from a segment with an end");
        let first = evidence.lsn(name, changed.start).unwrap_or(u64::MAX);
        // Its batch, as it stood.
        let end = self.frames.iter().find(|f| f.lsn == lost).map_or(u64::MAX, |f| f.batch_end);
        assert!(end > first, "{what}: record {lost}, which ends at {end}, stands before {first}");
    }

    /// An error: then what is damaged matters, was vouched for, and is what the error names.
    fn named(
        &self,
        hurt: &Files,
        name: &str,
        changed: &std::ops::Range<usize>,
        error: &duralog::Corruption,
        what: &str,
    ) {
        assert!(!error.what.is_empty() && error.lsns.start <= error.lsns.end, "{what}: {error}");
        let file = error.path.file_name().unwrap().to_string_lossy();
        assert!(file == name, "{what} is told as {error}");
        if name == "MANIFEST" {
            return;
        }
        let evidence = Evidence::of(hurt).unwrap_or_else(|| panic!("{what}: without a manifest"));
        let Some(segment) = evidence.segment(name) else {
            panic!("{what} matters to no one, and is told as {error}");
        };
        if hurt.get(name).is_none_or(|bytes| bytes.len() as u64 != segment.size)
            || changed.start < 76
        {
            return;
        }
        assert!(error.offset < changed.end as u64, "{what} is told as {error}");
        let first = segment.base + changed.start as u64;
        let until = segment.end.unwrap_or(0).max(evidence.vouched());
        assert!(first < until, "{what}: nothing below {until} is damaged, yet {error}");
        // No earlier than the batch that the damage begins in.
        let batch = self.frames.iter().find(|f| f.lsn <= first && first < f.end);
        let from = batch.map_or(first, |frame| frame.batch_start);
        assert!(error.lsns.start.get() >= from, "{what}: all is sound up to {from}, yet {error}");
    }
}

/// Who only looks comes to the same verdict: in real files.
fn verify(files: &Files, outcome: &Result<Vec<Kept>, Error>, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let verified = Inspector::open(dir.path()).and_then(|inspector| inspector.verify());
    match (verified, outcome) {
        (Ok(verified), Ok(found)) => assert!(verified.records == found.len() as u64, "{what}"),
        // No manifest and no segment: no log, or a new one.
        (Err(Error::NoLog { .. }), Ok(found)) => assert!(found.is_empty(), "{what}"),
        (Err(Error::Corrupt(a)), Err(Error::Corrupt(b))) => {
            assert!((a.segment, a.offset) == (b.segment, b.offset), "{what}: {a}, {b}");
        }
        (verified, outcome) => {
            panic!("{what}: verify {verified:?}, open {:?}", outcome.as_ref().err())
        }
    }
}

/// From the first byte that is another to behind the last.
fn changed(old: &[u8], new: Option<&[u8]>) -> std::ops::Range<usize> {
    let new = new.unwrap_or(&[]);
    let differ = |at: &usize| old.get(*at) != new.get(*at);
    let len = old.len().max(new.len());
    let first = (0..len).find(differ).unwrap_or(0);
    first..(0..len).rfind(differ).map_or(0, |last| last + 1)
}

fn rot(way: Way, lives: &[Life], before: Before, kind: Damage, tried: &[AtomicU64; 2]) {
    let mut run = Run::new(way, SimDisk::new(lives[0].draw));
    let (mut end, mut opened) = (End::PowerCut, true);
    for (n, life) in lives.iter().enumerate() {
        run.disk.cut_power_at(run.disk.calls() + life.cut + 40);
        run.log = way.open(&run.disk).ok();
        if let Some(log) = run.log.take() {
            run.log = run.model.found(&log, End::PowerCut).then_some(log);
        }
        opened = run.log.is_some();
        run.live(&life.ops);
        if n + 1 < lives.len() {
            run.disk.cut_power();
            run.log = None;
            run.disk = run.disk.crash(life.draw);
        }
    }
    let draw = lives[lives.len() - 1].draw;
    // Which sectors were lost with a power cut decides whether more than the last group goes: only where one
    // place of one frame is hit is there always evidence behind it.
    let small = matches!(kind, Damage::Flip | Damage::Word);
    let after_a_power_cut = if small { End::Rot } else { End::RotOfMuch };
    let (disk, owed) = match before {
        Before::PowerCut => {
            run.disk.cut_power();
            (run.disk.crash(draw), after_a_power_cut)
        }
        Before::Kill | Before::Close => {
            let close = matches!(before, Before::Close);
            if run.log.take().is_some_and(|log| close && log.close().is_ok()) {
                let all = run.model.records.len();
                (run.model.committed, run.model.committed_before) = (all, all);
            } else if !close && !run.disk.is_off() {
                end = End::Kill;
            }
            // By `pwrite` the watermark is a call of its own, behind the sync: where the end came there, the group is on the disk
            // and the watermark does not say so. A process that is dead tells no one; the simulated one goes on and does.
            let at_the_watermark = run.disk.is_off() && way.write == WriteMethod::Pwrite;
            run.disk.cut_power();
            run.disk.restart();
            // Else it is exact: all that was acknowledged is owed, or an error. But not if there was a power cut,
            // and no opening since that came to its end.
            let owed = match opened || lives.len() == 1 {
                true if at_the_watermark => End::Rot,
                true => End::PowerCut,
                false => after_a_power_cut,
            };
            (copy(&run.disk), owed)
        }
    };
    run.log = None;
    let rest = Rest::of(way, &disk, run.model, end, owed);
    for n in 0..DAMAGES {
        let draw = draw.rotate_left(7 * n as u32).wrapping_add(n);
        if let Some(named) = rest.suffer(&disk, kind, draw) {
            tried[usize::from(named)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// To each crash state, one by one.
const DAMAGES: u64 = 8;

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
        4 => Just(Damage::Flip),
        2 => Just(Damage::Word),
        2 => Just(Damage::Sector),
        2 => Just(Damage::Page),
        2 => Just(Damage::Garbage),
        1 => Just(Damage::Misdirected),
        1 => Just(Damage::Shorter),
        1 => Just(Damage::Longer),
        1 => Just(Damage::Gone),
    ];
    let before =
        prop_oneof![2 => Just(Before::PowerCut), 1 => Just(Before::Kill), 1 => Just(Before::Close)];
    let lives = proptest::collection::vec(life(), 1..3);
    let tried = [AtomicU64::new(0), AtomicU64::new(0)];
    super::try_many(
        "p5_damage",
        2200,
        &(way(), lives, before, kind),
        |(way, lives, before, kind)| {
            rot(way, &lives, before, kind, &tried);
        },
    );
    let [harmless, named] = tried.map(AtomicU64::into_inner);
    eprintln!(
        "{} damages on crash states, {named} of them named, the others harmless",
        harmless + named
    );
    assert!(named > harmless / 10 && harmless > named / 10);
}
