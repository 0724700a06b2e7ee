//! What a follower is told when the log no longer has what it was about to show, or has shown.

use duralog::sim::SimDisk;
use duralog::{Error, Lsn, Reader, ReaderFollower};

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

/// A record may end where a page does, as a segment begins.
#[test]
fn p2_a_position_that_was_cut_away_is_told_wherever_it_is() {
    for size in [4088, 4064, 4040, 4016] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().segment_size(64 << 10).open(dir.path()).unwrap();
        let keep = write(&log, 0..3)[2];
        log.roll().unwrap();
        let lsn = log.append_durable(&payload(100, size / 4)).unwrap();
        let mut follower = follow(dir.path());
        assert_eq!(drain(&mut follower).unwrap(), [0, 1, 2, 100]);
        let at = follower.position();
        assert!(at == log.durable() && at > lsn);
        log.truncate_after(keep).unwrap();
        write(&log, 200..202);
        gone(log.follow(at).map(drop));
        gone(Reader::open(dir.path()).unwrap().follow(at));
    }
}

/// It stands where a segment began, which a cut in the one before took along.
#[test]
fn p2_a_position_behind_a_roll_is_told_of_a_cut_before_the_roll() {
    for cut in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 0..6);
        log.roll().unwrap();
        log.commit().unwrap();
        let at = log.durable();
        assert!(at > lsns[5] && at.get() % 4096 == 0);
        log.truncate_after(lsns[if cut { 2 } else { 5 }]).unwrap();
        write(&log, 10..12);
        let again = Reader::open(dir.path()).unwrap().follow(at);
        if cut {
            gone(log.follow(at).map(drop));
            gone(again);
        } else {
            // Nothing before it was lost.
            assert_eq!(log.follow(at).unwrap().into_iter().take(2).count(), 2);
            assert_eq!(drain(&mut again.unwrap()).unwrap(), [10, 11]);
        }
    }
}

/// It has shown nothing yet: what lies right before where it began stands for what it has shown.
#[test]
fn p2_a_follower_that_has_shown_nothing_is_told_of_a_cut_before_it() {
    for (roll, published) in [(false, false), (true, false), (false, true), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        let keep = write(&log, 0..3)[2];
        if roll {
            log.roll().unwrap();
        }
        write(&log, 3..6);
        let mut follower = Reader::open(dir.path()).unwrap().follow(log.durable()).unwrap();
        if published {
            follower = follower.published();
        }
        assert_eq!(drain(&mut follower).unwrap(), [0u32; 0]);
        log.truncate_after(keep).unwrap();
        write(&log, 10..12);
        for _ in 0..2 {
            assert_eq!(gone(drain(&mut follower)).0, follower.position());
        }
    }
}

/// A note may go with a cut; no record did that was shown.
#[test]
fn a_position_is_behind_the_last_record_and_not_behind_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let keep = write(&log, 0..3)[2];
    log.set_metadata(b"x").unwrap();
    log.commit().unwrap();
    let (mut follower, reader) = (follow(dir.path()), Reader::open(dir.path()).unwrap());
    assert_eq!(drain(&mut follower).unwrap(), [0, 1, 2]);
    let at = follower.position();
    assert_eq!(at, Lsn::new(keep.get() + 208));
    log.truncate_after(keep).unwrap();
    write(&log, 10..12);
    assert_eq!(drain(&mut follower).unwrap(), [10, 11]);
    assert_eq!(drain(&mut reader.follow(at).unwrap()).unwrap(), [10, 11]);
    // Over marks, notes and the end of a segment.
    let at = follower.position();
    log.set_metadata(b"y").unwrap();
    log.commit().unwrap();
    log.roll().unwrap();
    let (mut early, last) = (reader.follow(at).unwrap(), write(&log, 12..14)[1]);
    for follower in [&mut early, &mut follower, &mut reader.follow(at).unwrap()] {
        assert_eq!(drain(follower).unwrap(), [12, 13]);
        assert_eq!(ReaderFollower::position(follower), Lsn::new(last.get() + 208));
    }
    // And where the segment is given up that it ends in.
    let at = follower.position();
    log.checkpoint(at).unwrap();
    assert!(log.head() > at);
    write(&log, 14..15);
    assert_eq!(drain(&mut follower).unwrap(), [14]);
    assert_eq!(drain(&mut reader.follow(at).unwrap()).unwrap(), [14]);
}
