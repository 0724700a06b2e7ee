//! Where the fuzzer begins: crash images of a simulated run, cut short at each of its calls.

use std::collections::BTreeSet;

use duralog::sim::SimDisk;

use super::common::{FRAMES, Files, files_of, template, write};
use super::open_dir::{OVERWRITE, REMOVE, TRUNCATE};

pub type Seeds = fn() -> Vec<Vec<u8>>;

/// Keeps the corpus small enough to be read by every run of the tests.
const MOST: usize = 45;

/// What the power leaves of the run that made the template, at different moments of it.
fn images() -> Vec<Files> {
    let mut images = Vec::new();
    for cut in (3..).step_by(4) {
        let disk = SimDisk::new(1);
        disk.cut_power_at(cut);
        let ended = write(&disk).is_ok();
        images.extend([1, 2, 3].map(|draw| files_of(&disk.crash(draw * cut))));
        if ended {
            break;
        }
    }
    images.push(template(false).clone());
    images.push(template(true).clone());
    images
}

/// Every one of a kind, or as many as fit, from all over the run.
fn few(seeds: BTreeSet<(u64, Vec<u8>)>) -> Vec<Vec<u8>> {
    let step = seeds.len().div_ceil(MOST).max(1);
    seeds.into_iter().map(|(_, seed)| seed).step_by(step).collect()
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end.next_multiple_of(8).min(bytes.len())]
}

fn seed(flags: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flags], bytes].concat()
}

/// In order of a hash, so that a choice of them is from all over.
fn keyed(seed: Vec<u8>) -> (u64, Vec<u8>) {
    let hash = seed.iter().fold(7u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(29)
    });
    (hash, seed)
}

pub fn segment() -> Vec<Vec<u8>> {
    let mut seeds = BTreeSet::new();
    for files in images() {
        let segments = files.iter().filter(|(name, _)| name.ends_with(".seg"));
        for (index, (_, file)) in (0..4).zip(segments.filter(|(_, file)| file.len() > FRAMES)) {
            let frames = without_zeros(&file[FRAMES..]);
            seeds.insert(keyed(seed(index | 0x90, frames)));
            seeds.insert(keyed(seed(index | 0x08, frames)));
        }
    }
    let mut seeds = few(seeds);
    for (index, (_, file)) in
        (0..).zip(template(true).iter().filter(|(name, _)| name.ends_with(".seg")))
    {
        let frames = without_zeros(&file[FRAMES..]);
        seeds.push(seed(index | 0x0C, frames));
        seeds.extend(crossing(frames).into_iter().map(|frames| seed(index | 0xD8, &frames)));
        seeds.push(seed(index | 0x2C, &[&file[..FRAMES], frames].concat()));
    }
    seeds
}

/// What no writer leaves, with checksums that are right: a last frame that grew beyond the end, a batch with
/// a mark inside, an end frame in the middle.
fn crossing(frames: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(frames[at + 4..at + 8].try_into().unwrap());
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + 8 <= frames.len() && word(at) != 0 {
        starts.push(at);
        at += 8 + (word(at) as usize & 0x0FFF_FFFF).next_multiple_of(8);
    }
    let with = |at: usize, word: u32| {
        let mut changed = frames.to_vec();
        changed[at + 4..at + 8].copy_from_slice(&word.to_le_bytes());
        changed
    };
    let mut all: Vec<_> = starts.iter().map(|at| with(*at, word(*at) + 64)).collect();
    // Each record as a part: the mark behind one is then inside of a batch.
    let records = starts.iter().filter(|at| word(**at) >> 28 == 1);
    all.extend(records.map(|at| with(*at, word(*at) ^ 0x3000_0000)));
    all.extend(starts.iter().take(2).map(|at| with(*at, 0x4000_0010)));
    let step = all.len().div_ceil(8).max(1);
    all.into_iter().rev().step_by(step).collect()
}

pub fn manifest() -> Vec<Vec<u8>> {
    let mut seeds = BTreeSet::new();
    for files in images() {
        let manifest = files.iter().find(|(name, _)| name == "MANIFEST");
        if let Some((_, bytes)) = manifest {
            seeds.extend([0x80, 0x88, 0x10].map(|flags| keyed(seed(flags, bytes))));
        }
    }
    let mut seeds = few(seeds);
    for (closed, flags) in [(false, 0x88), (true, 0x8C), (true, 0x94)] {
        let manifest = template(closed).iter().find(|(name, _)| name == "MANIFEST");
        seeds.extend(manifest.map(|(_, bytes)| seed(flags, bytes)));
    }
    seeds
}

/// The edits that make `files` of the template.
fn edits(files: &Files) -> Vec<u8> {
    let mut edits = Vec::new();
    let mut index = 0u8;
    for (name, old) in template(false) {
        let Some((_, new)) = files.iter().find(|(other, _)| other == name) else {
            edits.extend([index, 0, 0, 0, REMOVE]);
            continue;
        };
        if new.len() < old.len() {
            let [low, high] = (new.len() as u16).to_le_bytes();
            edits.extend([index, low, high, 0, TRUNCATE]);
        }
        let common = old.len().min(new.len());
        for at in (0..common).step_by(64) {
            let end = (at + 64).min(common);
            if old[at..end] != new[at..end] {
                let [low, high] = (at as u16).to_le_bytes();
                edits.extend([index, low, high, (end - at) as u8, OVERWRITE]);
                edits.extend(&new[at..end]);
            }
        }
        index += 1;
    }
    edits
}

pub fn open_dir() -> Vec<Vec<u8>> {
    let mut seeds: BTreeSet<_> =
        images().iter().map(|files| keyed(seed(0, &edits(files)))).collect();
    seeds.extend(images().iter().map(|files| keyed(seed(0xD8, &edits(files)))));
    seeds.retain(|(_, seed)| seed.len() < 6000);
    let mut seeds = few(seeds);
    // A file twice under another name: a manifest that is not the newest, a stranger.
    for (n, what) in [(0x40, 4), (0, 5), (1, 5), (2, 5), (3, 5)] {
        for flags in [0x08, 0x0C, 0xC0] {
            seeds.push(vec![flags, 3, n, 0, 0, what]);
        }
    }
    // A segment that says that the manifest is not the newest; cut off; of an impossible size.
    let copy = template(false).len() as u8;
    let stranger =
        [&[0xD0, 3, 0x40, 0, 0, 4][..], &[copy, 40, 0, 8, OVERWRITE, 0x40, 0, 0, 0, 0, 0, 0, 0]];
    let stranger = stranger.concat();
    seeds.push([&stranger[..], &[copy, 0x88, 0x13, 0, TRUNCATE]].concat());
    seeds.push([&stranger[..], &[copy, 56, 0, 1, OVERWRITE, 1]].concat());
    seeds.push(stranger);
    seeds
}

/// Any bytes are operations.
pub fn operations() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..MOST).map(|n| (0..40 + n * 4).map(|_| byte()).collect()).collect()
}
