//! What reading the code found of full disks and the reserve: each of these failed once.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Options, WriteMethod};

use super::found::{SIZE, open};

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
    disk.remove("RESERVE").unwrap(); // the checkpoint took it, and there was no room for another
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
    disk.remove("RESERVE").unwrap();
    disk.set_capacity(Some(disk.used() + 4096));
    disk.order(Fault::new(Call::Remove, 1, 5));
    let error = log.append(&[7; 9000]).unwrap_err();
    assert!(error.is_full() && !error.is_poisoned(), "{error}");
}

/// What fails before anything was appended leaves a clean log clean: it needs no new segment, for which there may
/// be no room.
#[test]
fn p7_a_clean_log_whose_open_failed_is_still_clean() {
    for call in [Call::Map, Call::Open, Call::Status, Call::Blocks, Call::Read] {
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

/// A mark that was lost with its group is owed to the next one: without it nothing but the watermark would say that what
/// comes before was durable once.
#[test]
fn p5_the_mark_of_a_group_that_was_refused_goes_before_the_next() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Pwrite, 1);
    log.step().unwrap();
    let damaged = log.append_durable(&[1; 400]).unwrap();
    disk.order(Fault::new(Call::Write, 1, 28));
    assert!(log.append(&[2; 400]).unwrap_err().is_full());
    disk.mend();
    log.append(&[3; 400]).unwrap();
    drop(log);
    disk.remove("WATERMARK").unwrap();
    let name = "0000000000000001.seg";
    let mut bytes = disk.bytes(name).unwrap();
    bytes[usize::try_from(damaged.get()).unwrap() + 10] ^= 1;
    disk.put(name, &bytes).unwrap();
    let error = Options::new().segment_size(SIZE).open_on(&disk).map(drop).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains(&damaged.to_string()), "{error}");
}

/// A checkpoint bars consumers from what it is about to free. One that a full disk refused frees nothing, and bars no one.
#[test]
fn p7_a_checkpoint_that_a_full_disk_refused_bars_no_consumer() {
    let disk = SimDisk::new(1);
    let log = open(&disk, WriteMethod::Mmap, 1);
    let lsns = [1, 2, 3].map(|n| log.append_durable(&[n; 9000]).unwrap());
    let consumer = log.consumer("mailer").unwrap();
    consumer.seek(lsns[2]).unwrap();
    log.commit().unwrap();
    disk.order(Fault::new(Call::Create, 1, 28).forever());
    assert!(log.checkpoint(lsns[2]).unwrap_err().is_full());
    disk.mend();
    consumer.seek(lsns[0]).unwrap();
    assert_eq!(consumer.follow().unwrap().try_next().unwrap().unwrap().payload()[0], 1);
}
