//! Made-up histories: each way to break a promise is told as that promise.

use super::*;

const LIFE: u32 = 1;
const WRITER: u32 = LIFE * WRITERS;

fn one(seq: u64) -> Origin {
    Origin { writer: WRITER, seq, index: 0, count: 1 }
}

fn appended(seq: u64, lsns: &[u64]) -> Said {
    Said::Appended { writer: WRITER, seq, lsns: lsns.to_vec() }
}

/// Records 0, 1, 2 at 100, 200, 300; a batch of two at 400; up to 200 all is acknowledged.
fn history() -> History {
    let mut history = History::default();
    history.begin(LIFE, 2);
    let said = [
        Said::Opened,
        appended(0, &[100]),
        appended(1, &[200]),
        Said::Durable(200),
        appended(2, &[300]),
        appended(3, &[400, 450]),
    ];
    said.iter().for_each(|said| history.hear(said).unwrap());
    history
}

fn part(index: u32) -> Origin {
    Origin { writer: WRITER, seq: 3, index, count: 2 }
}

fn all() -> Found {
    let records = vec![(100, one(0)), (200, one(1)), (300, one(2)), (400, part(0)), (450, part(1))];
    Found { head: 100, end: 500, records, ..Found::default() }
}

fn without(lsns: &[u64]) -> Found {
    let mut found = all();
    found.records.retain(|(lsn, _)| !lsns.contains(lsn));
    found
}

fn verdict(history: &mut History, found: &Found) -> Result<(), String> {
    history.check(found).map_err(|broken| broken.promise)
}

/// Behind a power cut.
fn cut(found: &Found) -> Result<(), String> {
    let mut history = history();
    history.may_lose();
    verdict(&mut history, found)
}

#[test]
fn what_was_appended_is_there() {
    let mut history = history();
    assert_eq!(verdict(&mut history, &all()), Ok(()));
    assert_eq!((history.counts.acknowledged, history.counts.checked), (2, 5));
    // From now on all of it is acknowledged, whatever comes.
    history.begin(2, 1);
    history.may_lose();
    assert_eq!(verdict(&mut history, &without(&[400, 450])), Err("P1".into()));
}

#[test]
fn p1_an_acknowledged_record_is_lost() {
    assert_eq!(cut(&without(&[200, 300, 400, 450])), Err("P1".into()));
    assert_eq!(cut(&without(&[300, 400, 450])), Ok(()));
}

#[test]
fn p2_a_hole() {
    assert_eq!(cut(&without(&[300])), Err("P2".into()));
}

#[test]
fn p2_another_record_than_was_appended_or_none_that_was() {
    let mut other = all();
    other.records[2].1 = one(7);
    assert_eq!(cut(&other), Err("P2".into()));
    let mut invented = all();
    invented.records.push((500, Origin { writer: 3 * WRITERS, ..one(0) }));
    assert_eq!(cut(&invented), Err("P2".into()));
    let mut falls = all();
    falls.records.swap(0, 1);
    assert_eq!(cut(&falls), Err("P2".into()));
}

#[test]
fn the_next_append_of_a_thread_may_have_come_about_and_no_other() {
    let mut found = all();
    found.records.push((500, one(4)));
    found.records.push((600, Origin { writer: WRITER + 1, ..one(0) }));
    assert_eq!(verdict(&mut history(), &found), Ok(()));
    found.records[5].1 = one(5);
    assert_eq!(verdict(&mut history(), &found), Err("P2".into()));
    found.records[5].1 = Origin { writer: WRITER + 2, ..one(0) };
    assert_eq!(verdict(&mut history(), &found), Err("P2".into()), "no such thread");
}

#[test]
fn a_failed_append_is_there_only_where_it_may_be() {
    let mut found = all();
    found.records.push((500, one(4)));
    for may_be in [false, true] {
        let mut history = history();
        history.hear(&Said::Failed { writer: WRITER, seq: 4, may_be }).unwrap();
        assert_eq!(verdict(&mut history, &found).is_ok(), may_be);
    }
}

#[test]
fn p3_a_torn_batch() {
    assert_eq!(cut(&without(&[450])), Err("P3".into()));
    assert_eq!(cut(&without(&[300, 400])), Err("P3".into()));
    assert_eq!(cut(&without(&[400, 450])), Ok(()));
}

#[test]
fn p4_a_record_that_was_appended_is_lost_by_a_kill() {
    assert_eq!(verdict(&mut history(), &without(&[400, 450])), Err("P4".into()));
}

#[test]
fn p2_an_lsn_for_two_records_or_one_that_was_in_use() {
    let mut history = history();
    assert_eq!(history.hear(&appended(4, &[300])).unwrap_err().promise, "P2");
    let mut history = self::history();
    history.may_lose();
    assert_eq!(verdict(&mut history, &without(&[300, 400, 450])), Ok(()));
    history.begin(2, 1);
    // Its record was lost, but the LSN had been told.
    let anew = Said::Appended { writer: 2 * WRITERS, seq: 0, lsns: vec![450] };
    assert_eq!(history.hear(&anew).unwrap_err().promise, "P2");
}

#[test]
fn p2_what_was_lost_or_cut_returns() {
    let mut history = history();
    history.may_lose();
    assert_eq!(verdict(&mut history, &without(&[400, 450])), Ok(()));
    history.begin(2, 1);
    assert_eq!(verdict(&mut history, &all()), Err("P2".into()));

    let mut history = self::history();
    history.hear(&Said::Cut { keep: 200, done: true }).unwrap();
    assert_eq!(verdict(&mut history, &all()), Err("P2".into()));
}

#[test]
fn a_cut_that_was_begun_came_about_or_not() {
    for (gone, promise) in [
        (&[][..], Ok(())),
        (&[300, 400, 450], Ok(())),
        (&[400, 450], Err("P4".to_owned())),
        (&[200, 300, 400, 450], Err("P1".to_owned())),
    ] {
        let mut history = history();
        history.hear(&Said::Cut { keep: 200, done: false }).unwrap();
        assert_eq!(verdict(&mut history, &without(gone)), promise, "{gone:?}");
    }
    // What is kept is durable.
    let mut history = history();
    history.hear(&Said::Cut { keep: 300, done: true }).unwrap();
    history.may_lose();
    assert_eq!(verdict(&mut history, &without(&[300, 400, 450])), Err("P1".into()));
}

#[test]
fn p10_a_checkpoint_takes_nothing_above_it_and_is_not_forgotten() {
    let checkpoint = |done| {
        let mut history = history();
        history.hear(&Said::Checkpoint { at: 200, done }).unwrap();
        history
    };
    let freed = |at: u64, head| Found { checkpoint: at, head, ..without(&[100]) };
    assert_eq!(verdict(&mut checkpoint(true), &freed(200, 200)), Ok(()));
    assert_eq!(verdict(&mut checkpoint(true), &freed(0, 200)), Err("P10".into()));
    assert_eq!(verdict(&mut checkpoint(true), &freed(300, 200)), Err("P10".into()));
    assert_eq!(verdict(&mut checkpoint(false), &Found { checkpoint: 0, ..all() }), Ok(()));
    assert_eq!(verdict(&mut checkpoint(false), &freed(0, 200)), Err("P1".into()));
    let above = Found { checkpoint: 200, head: 300, ..without(&[100, 200]) };
    assert_eq!(verdict(&mut checkpoint(true), &above), Err("P1".into()));
}

#[test]
fn p1_the_consumer_and_the_metadata_that_were_acknowledged() {
    let noted = |position, metadata| {
        let mut history = history();
        let said = [
            Said::Acking(100),
            Said::Acked(150),
            Said::Acking(200),
            Said::Metadata { n: 1, done: true },
            Said::Metadata { n: 2, done: false },
        ];
        said.iter().for_each(|said| history.hear(said).unwrap());
        verdict(&mut history, &Found { position, metadata, ..all() })
    };
    assert_eq!(noted(Some(150), 1), Ok(()));
    assert_eq!(noted(Some(250), 2), Ok(()));
    for (position, metadata) in
        [(Some(120), 1), (None, 1), (Some(350), 1), (Some(150), 0), (Some(150), 3)]
    {
        assert_eq!(noted(position, metadata), Err("P1".into()), "{position:?} {metadata}");
    }
}

#[test]
fn what_a_child_saw_itself_counts() {
    let broken = Said::Broken { promise: "P8".into(), what: "a second open".into() };
    assert_eq!(history().hear(&broken).unwrap_err().promise, "P8");
}
