//! What reading the code found: each of these failed once.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Log, Options, WriteMethod};

const SIZE: u64 = 16 << 10;

fn open(disk: &SimDisk, write: WriteMethod, spare: usize) -> Log {
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

/// A reader let go of its segment while the disk was full: the space comes back without another checkpoint.
#[test]
fn p7_space_that_a_reader_held_comes_back_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    let lsn = log.append_durable(&[7; 9000]).unwrap();
    let held = log.read(lsn).unwrap();
    log.step().unwrap();
    disk.set_capacity(Some(disk.used()));
    while log.append(&[7; 9000]).is_ok() {}
    log.commit().unwrap();
    assert_eq!(log.checkpoint(log.durable()).unwrap().segments, 0);
    // The checkpoint took the reserve, of which segments can be made for a while.
    while log.append(&[7; 9000]).is_ok() {}
    let before = disk.files();
    drop(held);
    drop(log.append(&[7; 9000]));
    assert!(before.iter().any(|name| !disk.files().contains(name)), "{before:?} are still there");
}

/// With pwrite a checkpoint of everything ends the active segment by a write, which a full disk may refuse.
#[test]
fn p7_a_checkpoint_by_pwrite_succeeds_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Pwrite, 1);
    log.append_durable(&[7; 100]).unwrap();
    log.step().unwrap();
    disk.order(Fault::new(Call::Write, 1, 28));
    log.checkpoint(log.durable()).unwrap();
}

/// `Full` says that nothing was appended: no crash makes that untrue, also where a part of it was written.
#[test]
fn p2_what_a_full_disk_refused_never_comes_back() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let log = open(&disk, WriteMethod::Pwrite, 1);
        // A mark of 24 bytes, then the record, which ends with its page; the word behind it is refused.
        log.append_durable(&[0; 392]).unwrap();
        disk.order(Fault::new(Call::Write, 1, 28));
        assert!(log.append(&[1; 8192 - 4496 - 24 - 8]).unwrap_err().is_full());
        drop(log);
        disk.mend();
        for draw in 0..50 {
            assert_eq!(open(&disk.crash(draw), WriteMethod::Pwrite, 1).replay().count(), 1);
        }
        assert_eq!(open(&disk, WriteMethod::Pwrite, 1).replay().count(), 1, "seed {seed}");
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

/// A new segment whose name could not be made durable for want of space stands in no one's way.
#[test]
fn p7_a_full_disk_at_any_step_of_a_new_segment_is_no_poison() {
    for call in
        [Call::Create, Call::Allocate, Call::Write, Call::Sync, Call::SyncDirectory, Call::Rename]
    {
        for nth in 1..=3 {
            let disk = SimDisk::new(1);
            let log = open(&disk, WriteMethod::Mmap, 1);
            log.append_durable(&[7; 9000]).unwrap();
            disk.order(Fault::new(call, nth, 28));
            match log.roll().and_then(|_| log.append(&[1; 9000])) {
                Ok(_) => {}
                // After a rename or a sync of the directory for the manifest no one knows which one stands.
                Err(Error::Poisoned { .. }) => continue,
                Err(error) => assert!(error.is_full(), "{call:?} {nth}: {error}"),
            }
            disk.mend();
            log.append_durable(&[2; 9000]).unwrap_or_else(|e| panic!("{call:?} {nth}: {e}"));
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

/// The space of the reserve is not for segments, also not after a checkpoint that took it: the next one would fail.
#[test]
fn p7_one_checkpoint_after_another_succeeds_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    let lsn = log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    // Held, so that no checkpoint gives anything back.
    let mut held = vec![log.read(lsn).unwrap()];
    disk.set_capacity(Some(disk.used()));
    for round in 0..4 {
        while let Ok(lsn) = log.append(&[7; 9000]) {
            held.push(log.read(lsn).unwrap());
        }
        // What is left is another's.
        disk.set_capacity(Some(disk.used()));
        log.commit().unwrap();
        let last = held.last().unwrap().lsn();
        log.checkpoint(last).unwrap_or_else(|e| panic!("round {round}: {e}"));
    }
}

/// An open that meets a full disk leaves nothing behind that keeps it full.
#[test]
fn p7_an_open_on_a_full_disk_leaves_no_segment_behind() {
    let fresh = SimDisk::new(1);
    let log = open(&fresh, WriteMethod::Mmap, 0);
    log.append_durable(&[7; 9000]).unwrap();
    drop(log);
    for before in [SimDisk::new(2), fresh] {
        let mut failed = 0;
        for errno in [28, 122] {
            for call in [Call::Create, Call::Allocate, Call::Write, Call::Sync, Call::SyncDirectory]
            {
                for nth in 1.. {
                    let disk = before.crash(1);
                    disk.order(Fault::new(call, nth, errno).forever());
                    let opened = Options::new().segment_size(SIZE).open_on(&disk);
                    if disk.struck() == 0 {
                        break;
                    }
                    let Err(error) = opened else { continue };
                    failed += 1;
                    let segments: Vec<_> =
                        disk.files().into_iter().filter(|name| name.ends_with(".seg")).collect();
                    let named = before.files();
                    let left = segments.iter().find(|name| !named.contains(name));
                    // Where no one knows which manifest stands, the new one may name it.
                    let unknown =
                        matches!(&error, Error::Io { op, .. } if op.contains("directory"));
                    assert!(left.is_none() || unknown, "{call:?} {nth}: {error} left {left:?}");
                }
            }
        }
        assert!(failed > 10, "{failed}");
    }
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

/// The reserve cannot be filled again, since another program took the room; spare files need none.
#[test]
fn p7_spare_files_are_used_though_the_reserve_is_owed() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 2);
    for _ in 0..4 {
        log.append_durable(&[7; 9000]).unwrap();
        log.step().unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    while log.append_durable(&[7; 9000]).is_ok() {}
    log.checkpoint(log.durable()).unwrap();
    assert_eq!(log.stats().segments_spare, 2);
    disk.set_capacity(Some(disk.used() + 10 * 4096));
    for round in 0..6 {
        log.append_durable(&[8; 9000]).unwrap_or_else(|e| panic!("round {round}: {e}"));
        log.checkpoint(log.durable()).unwrap();
    }
}

/// Where there never was room for a reserve the log does without.
#[test]
fn p7_a_disk_smaller_than_the_reserve_is_used() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(400 << 10));
    let log = open(&disk, WriteMethod::Mmap, 0);
    let mut records = 0;
    while log.append_durable(&[7; 9000]).is_ok() {
        records += 1;
    }
    assert!(records > 20, "{records}");
}

/// An open after a crash needs a segment, and that comes before the reserve.
#[test]
fn p7_the_reserve_is_not_in_the_way_of_an_open() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    let lsn = log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    let held = log.read(lsn).unwrap();
    disk.set_capacity(Some(disk.used()));
    while log.append_durable(&[7; 9000]).is_ok() {}
    log.checkpoint(log.durable()).unwrap();
    drop(log);
    drop(held);
    assert!(!disk.files().contains(&"RESERVE".to_owned()), "the checkpoint took it");
    let used = disk.used();
    for free in 6..140 {
        let again = disk.crash(1);
        again.set_capacity(Some(used + free * 4096));
        let opened = Options::new().segment_size(SIZE).spare_segments(0).open_on(&again);
        assert!(opened.is_ok(), "{free} pages are free: {}", opened.unwrap_err());
    }
}

#[test]
fn p7_a_reserve_that_cannot_be_removed_is_no_poison() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    let lsn = log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    let _held = log.read(lsn).unwrap();
    disk.set_capacity(Some(disk.used()));
    while log.append_durable(&[7; 9000]).is_ok() {}
    log.checkpoint(log.durable()).unwrap();
    disk.set_capacity(Some(disk.used() + 4096));
    disk.order(Fault::new(Call::Remove, 1, 5));
    let error = log.append(&[7; 9000]).unwrap_err();
    assert!(error.is_full() && !error.is_poisoned(), "{error}");
}

/// What fails before anything was appended leaves a clean log clean: it needs no new segment, for which there may
/// be no room.
#[test]
fn p7_a_clean_log_whose_open_failed_is_still_clean() {
    for call in [Call::Map, Call::Open, Call::Status, Call::Read] {
        for nth in 1.. {
            let disk = SimDisk::new(1);
            let log = open(&disk, WriteMethod::Mmap, 0);
            disk.set_capacity(Some(disk.used()));
            while log.append_durable(&[7; 3000]).is_ok() {}
            log.close().unwrap();
            drop(log);
            disk.set_capacity(Some(disk.used() + 2 * 4096));
            disk.order(Fault::new(call, nth, 12)); // ENOMEM
            let options = || Options::new().segment_size(SIZE).spare_segments(0);
            let first = options().open_on(&disk);
            if disk.struck() == 0 {
                break;
            }
            let Err(first) = first else { continue };
            disk.mend();
            let again = options().open_on(&disk);
            let log = again.unwrap_or_else(|e| panic!("{call:?} {nth}: first {first}; then {e}"));
            assert_eq!(log.recovery().tail, duralog::Tail::Clean, "{call:?} {nth}: {first}");
        }
    }
}

/// Room for a segment, none for the manifest that would name it: that must not take the reserve.
#[test]
fn p7_the_manifest_of_a_new_segment_does_not_take_the_reserve() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 0);
    log.append_durable(&[7; 9000]).unwrap();
    log.step().unwrap();
    disk.set_capacity(Some(disk.used()));
    while log.append_durable(&[7; 9000]).is_ok() {}
    disk.set_capacity(Some(disk.used() + SIZE));
    assert!(log.append(&[7; 9000]).unwrap_err().is_full());
    disk.set_capacity(Some(disk.used()));
    log.checkpoint(log.durable()).unwrap();
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
