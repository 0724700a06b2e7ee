//! What a follower is told when the log no longer has what it was about to show, or has shown.

use duralog::sim::SimDisk;
use duralog::{Error, Lsn, Reader};

use super::{append, drain, follow, number, options, payload, write};

fn gone(result: Result<impl std::fmt::Debug, Error>) -> (Lsn, Lsn) {
    match result {
        Err(Error::Gone { lsn, head }) => (lsn, head),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_follower_that_a_checkpoint_has_passed_is_told_and_told_again() {
    for spare in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().spare_segments(spare).open(dir.path()).unwrap();
        write(&log, 0..10);
        let (mut follower, mut fresh) = (follow(dir.path()), follow(dir.path()));
        assert_eq!(number(&follower.try_next().unwrap().unwrap().payload), 0);
        write(&log, 10..400);
        log.checkpoint(log.durable()).unwrap();
        write(&log, 400..600);
        let at = follower.position();
        for _ in 0..2 {
            // What it holds in memory it may still show.
            assert_eq!(gone(drain(&mut follower)).1, log.head());
            assert_eq!(gone(drain(&mut fresh)).1, log.head());
        }
        let reader = Reader::open(dir.path()).unwrap();
        assert_eq!(gone(reader.follow(at)), (at, log.head()));
        let mut again = reader.follow(log.head()).unwrap();
        assert_eq!(drain(&mut again).unwrap(), (400..600).collect::<Vec<_>>());
    }
}

#[test]
fn a_cut_of_what_was_shown_is_told_and_of_what_was_not_is_none() {
    for published in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 0..10);
        let (mut all, mut some) = (follow(dir.path()), follow(dir.path()));
        if published {
            (all, some) = (all.published(), some.published());
        }
        assert_eq!(drain(&mut all).unwrap().len(), 10);
        for n in 0..5 {
            assert_eq!(number(&some.try_next().unwrap().unwrap().payload), n);
        }
        let at = some.position();
        log.truncate_after(lsns[4]).unwrap();
        write(&log, 10..12);
        assert_eq!(gone(drain(&mut all)).0, lsns[9]);
        let reader = Reader::open(dir.path()).unwrap();
        let from = |lsn| reader.follow(lsn).and_then(|mut follower| drain(&mut follower));
        gone(from(all.position()));
        gone(from(lsns[9]));
        assert_eq!(from(at).unwrap(), [10, 11]);
        // It may still show what it had read. Then it is told.
        match drain(&mut some) {
            Ok(found) => assert_eq!(found, [10, 11]),
            Err(error) => drop(gone(Err::<(), _>(error))),
        }
    }
}

#[test]
fn a_position_that_is_none_is_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..2);
    let reader = Reader::open(dir.path()).unwrap();
    for follow in [true, false] {
        let far = Lsn::new(1 << 40);
        let refused =
            if follow { reader.follow(far).map(drop) } else { reader.replay_from(far).map(drop) };
        assert!(matches!(refused, Err(Error::OutOfRange { .. })), "{refused:?}");
    }
    // The very start is one, as long as the log has all from there.
    assert_eq!(drain(&mut reader.follow(Lsn::MIN).unwrap()).unwrap(), [0, 1]);
}

#[test]
fn p1_what_a_crash_took_was_published_and_is_told() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let log = options().open_on(&disk).unwrap();
        write(&log, 0..3);
        append(&log, 3..8);
        let reader = Reader::open_on(&disk).unwrap();
        let from = reader.head().unwrap();
        let (mut durable, mut published) =
            (reader.follow(from).unwrap(), reader.follow(from).unwrap().published());
        assert_eq!(drain(&mut durable).unwrap(), [0, 1, 2]);
        assert_eq!(drain(&mut published).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        let after = disk.crash(seed);
        let log = options().open_on(&after).unwrap();
        let left = log.replay().count() as u32;
        write(&log, 100..102);
        let reader = Reader::open_on(&after).unwrap();
        let mut expected: Vec<u32> = (3..left).collect();
        expected.extend([100, 101]);
        let mut durable = reader.follow(durable.position()).unwrap();
        assert_eq!(drain(&mut durable).unwrap(), expected);
        let published = reader.follow(published.position()).and_then(|mut f| drain(&mut f));
        if left == 8 {
            kept += 1;
            assert_eq!(published.unwrap(), [100, 101]);
        } else {
            lost += 1;
            gone(published);
        }
    }
    assert!(lost > 5 && kept > 5, "{lost} {kept}");
}

/// The file is unlinked or recycled under the follower, which has seen all of it but its end.
#[test]
fn an_end_that_the_file_still_tells_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..5);
    let mut follower = follow(dir.path());
    assert_eq!(drain(&mut follower).unwrap(), [0, 1, 2, 3, 4]);
    log.roll().unwrap();
    let five = log.append_durable(&payload(5, 50)).unwrap();
    // Beyond where the follower stands, and all of that segment.
    log.checkpoint(five).unwrap();
    assert!(log.head() > follower.position());
    assert_eq!(drain(&mut follower).unwrap(), [5]);
}
