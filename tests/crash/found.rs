//! What reading the code found: each of these failed once.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Log, Options, WriteMethod};

pub(super) const SIZE: u64 = 16 << 10;

pub(super) fn open(disk: &SimDisk, write: WriteMethod, spare: usize) -> Log {
    let options = Options::new().segment_size(SIZE).spare_segments(spare).write_method(write);
    options.open_on(disk).unwrap()
}

/// A record that is held keeps its bytes, also when its log was closed and another has the directory: safe code
/// must not see a `&[u8]` change.
#[test]
fn p10_a_record_outlives_its_log() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 2);
    let lsn = log.append_durable(&[7; 12_000]).unwrap();
    let held = log.read(lsn).unwrap();
    drop(log);
    let log = open(&disk, WriteMethod::Mmap, 2);
    for _ in 0..6 {
        log.append_durable(&[9; 12_000]).unwrap();
        log.step().unwrap();
        log.checkpoint(log.durable()).unwrap();
    }
    assert_eq!(held.payload(), &[7; 12_000][..]);
}

/// The same for a record that a failed sync lost, behind whose end the blocks are given back.
#[test]
fn p10_a_record_that_was_lost_keeps_its_bytes_while_it_is_held() {
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        let log = open(&disk, WriteMethod::Mmap, 2);
        log.append_durable(&[7; 5000]).unwrap();
        let lost = log.append(&[8; 6000]).unwrap();
        let lost = log.read(lost).unwrap();
        disk.order(Fault::new(Call::Sync, 1, 5));
        assert!(log.commit().is_err());
        drop(log);
        let log = open(&disk, WriteMethod::Mmap, 2);
        log.append_durable(&[9; 3000]).unwrap();
        assert_eq!(lost.payload(), &[8; 6000][..], "seed {seed}");
    }
}

/// What a failed append left behind the end must not come to life behind what is appended after a close.
#[test]
fn p2_leftovers_of_a_failed_append_stay_dead_after_a_close() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let log = open(&disk, WriteMethod::Pwrite, 1);
        // The second frame of the batch begins a sector, so that the zero word before it can be lost by
        // itself; it ends with its page, and the word behind it is refused.
        log.append_durable(&[0; 392]).unwrap();
        disk.order(Fault::new(Call::Write, 1, 28));
        let batch: [&[u8]; 2] = [&[1; 4608 - 4496 - 24 - 8], &[2; 8192 - 4608 - 8]];
        assert!(log.append_batch(&batch).unwrap_err().is_full());
        disk.mend();
        log.close().unwrap();
        drop(log);
        let log = open(&disk, WriteMethod::Pwrite, 1);
        assert_eq!(log.replay().count(), 1);
        log.append(&[4; 4608 - 4496 - 8]).unwrap();
        drop(log);
        for draw in 0..200 {
            let log = open(&disk.crash(draw), WriteMethod::Pwrite, 1);
            let found: Vec<_> = log.replay().map(|r| r.unwrap().payload()[0]).collect();
            assert!([&[0][..], &[0, 4]].contains(&&found[..]), "{found:?}");
        }
    }
}

/// Nor behind what is appended next: that goes into another segment.
#[test]
fn p2_leftovers_of_a_failed_append_stay_dead_behind_the_next() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let log = open(&disk, WriteMethod::Pwrite, 1);
        // As above; what is appended next, its mark before it, would end where that second frame begins.
        log.append_durable(&[0; 392]).unwrap();
        disk.order(Fault::new(Call::Write, 1, 28));
        let batch: [&[u8]; 2] = [&[1; 4608 - 4496 - 24 - 8], &[2; 8192 - 4608 - 8]];
        assert!(log.append_batch(&batch).unwrap_err().is_full());
        disk.mend();
        log.append(&[4; 4608 - 4496 - 24 - 8]).unwrap();
        drop(log);
        for draw in 0..200 {
            let log = open(&disk.crash(draw), WriteMethod::Pwrite, 1);
            let found: Vec<_> = log.replay().map(|r| r.unwrap().payload()[0]).collect();
            assert!([&[0][..], &[0, 4]].contains(&&found[..]), "{found:?}");
        }
    }
}

/// A sector that cannot be read is an error that says where, never the end of the log.
#[test]
fn p5_an_unreadable_sector_is_an_error_that_says_where() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 1);
    log.append_durable(&[7; 9000]).unwrap();
    drop(log);
    let mut where_it_was = Vec::new();
    for nth in 1.. {
        let again = disk.crash(1);
        again.order(Fault::new(Call::Read, nth, 5));
        let opened = Options::new().segment_size(SIZE).open_on(&again);
        if again.struck() == 0 {
            break;
        }
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("pread of sim/"), "{error}");
        where_it_was.push(error);
    }
    let named = |text: &&String| {
        text.contains("0000000000000001.seg") && text.contains("between offsets 4096 and")
    };
    assert_eq!(where_it_was.iter().filter(named).count(), 1, "{where_it_was:#?}");
}

/// What a user appends may look like a mark that stands in just that place, but for the checksum, which no one
/// can know: it vouches for nothing.
#[test]
fn p5_a_payload_that_looks_like_a_mark_is_none() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 1);
    log.append_durable(&[1; 100]).unwrap();
    let torn = log.append(&[2; 600]).unwrap().get();
    let end = log.end().get();
    // The words of a frame: kind 3 and 16 bytes; its own LSN; all before it durable.
    let mark = |own: u64| [(3u64 << 28 | 16) << 32, own, own].map(u64::to_le_bytes).concat();
    let marks: Vec<u8> = (0..40).flat_map(|n| mark(end + 8 + n * 24)).collect();
    log.append(&marks).unwrap();
    drop(log);
    let mut torn_states = 0;
    let states = disk.crash_each(10_000, |disk| {
        let log = open(&disk, WriteMethod::Mmap, 1);
        torn_states += u64::from(log.end().get() > torn && log.replay().count() == 1);
    });
    assert!(states < 10_000 && torn_states > 0);
}

/// Killed in the middle of a recovery, killed in the middle of the next, then a power cut: the second one must not
/// have acted on a manifest that only the cache had.
#[test]
fn p1_a_manifest_that_only_the_cache_has_is_made_durable_before_it_is_acted_upon() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    drop(log);
    let opened = |disk: &SimDisk| {
        Options::new()
            .segment_size(SIZE)
            .spare_segments(0)
            .open_on(disk)
            .map(|log| log.replay().count())
    };
    // Where recovery is killed first: at the sync of the directory that would make its manifest durable.
    let mut syncs = 0;
    for first in 1.. {
        let kill = || {
            let killed = disk.crash(1);
            killed.cut_power_at(first);
            let whole = opened(&killed).is_ok();
            (killed, whole)
        };
        let (killed, whole) = kill();
        if whole {
            break;
        }
        if killed.count(Call::SyncDirectory) == syncs {
            continue;
        }
        syncs += 1;
        for second in 1.. {
            let (again, _) = kill();
            let removed = again.count(Call::Remove);
            again.restart();
            again.cut_power_at(again.calls() + second);
            let whole = opened(&again).is_ok();
            for draw in 0..if again.count(Call::Remove) > removed { 25 } else { 0 } {
                let found = opened(&again.crash(draw));
                assert_eq!(found.unwrap_or_else(|e| panic!("calls {first}, {second}: {e}")), 1);
            }
            if whole {
                break;
            }
        }
    }
    assert!(syncs > 1, "{syncs}");
}

/// Recovery keeps no segment without a record; killed before it has made a new one, it leaves a log without any. That
/// is no clean end, nor a new log.
#[test]
fn a_recovery_that_was_interrupted_is_no_clean_end() {
    let fresh = SimDisk::new(1);
    drop(open(&fresh, WriteMethod::Mmap, 0));
    let mut without = 0;
    for at in 1.. {
        let disk = fresh.crash(1);
        disk.cut_power_at(at);
        let options = Options::new().segment_size(SIZE).spare_segments(0);
        let whole = options.open_on(&disk).is_ok();
        disk.restart();
        without += u64::from(!disk.files().iter().any(|name| name.ends_with(".seg")));
        let log = open(&disk, WriteMethod::Mmap, 1);
        assert!(matches!(log.recovery().tail, duralog::Tail::Unclean { .. }), "call {at}");
        if whole {
            break;
        }
    }
    assert!(without > 0);
    assert_eq!(open(&SimDisk::new(2), WriteMethod::Mmap, 1).recovery().tail, duralog::Tail::Clean);
}

/// The one mark that vouches for a damaged record may stand right behind it.
#[test]
fn p5_a_mark_right_behind_the_damage_vouches() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 1);
    log.step().unwrap();
    let damaged = log.append_durable(&[1; 40]).unwrap();
    log.append(&[2; 8]).unwrap();
    drop(log);
    disk.remove("WATERMARK").unwrap();
    let name = "0000000000000001.seg";
    let mut bytes = disk.bytes(name).unwrap();
    bytes[usize::try_from(damaged.get()).unwrap() + 10] ^= 1;
    disk.put(name, &bytes).unwrap();
    let error = Options::new().segment_size(SIZE).open_on(&disk).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains(&damaged.to_string()), "{error}");
}
