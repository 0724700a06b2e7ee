//! Every call of the public interface, on handles that a child inherited.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::time::Duration;

use duralog::{Consumer, Durable, Follower, Log, Lsn, Replay, TypedLog, TypedReplay};

use crate::{By, Report, alone, fork, small};

/// What a process may have of a log.
pub struct Handles<'a> {
    pub log: &'a Log,
    pub lsn: Lsn,
    pub consumer: &'a Consumer,
    pub tickets: [Durable; 2],
    pub followers: [Follower; 3],
    pub replays: [Replay<'a>; 2],
}

impl<'a> Handles<'a> {
    pub fn of(log: &'a Log, consumer: &'a Consumer, lsn: Lsn) -> Handles<'a> {
        let mut replays = [log.replay(), log.replay()];
        replays.iter_mut().for_each(|replay| assert!(replay.next().is_some()));
        let mut follower = log.follow(log.head()).unwrap();
        assert!(follower.try_next().unwrap().is_some());
        let followers = [follower, log.follow(lsn).unwrap(), log.follow(lsn).unwrap().published()];
        let mut tickets = [log.when_durable(lsn), log.when_durable(lsn)];
        // Entered, unless it is durable by now: then the ticket has nothing more to say.
        if Pin::new(&mut tickets[0]).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            tickets[0] = log.when_durable(lsn);
        }
        Handles { log, lsn, consumer, tickets, followers, replays }
    }

    /// Makes every call; what was not refused.
    pub fn call(self, report: &mut Report) {
        let Handles { log, lsn, consumer, tickets, mut followers, mut replays } = self;
        report.refused("append", log.append(b"x"));
        report.refused("append_batch", log.append_batch(&["x", "y"]));
        report.refused("append_batch of none", log.append_batch::<&str>(&[]));
        report.refused("append_durable", log.append_durable(b"x"));
        report.refused("commit", log.commit());
        report.refused("commit_to", log.commit_to(lsn));
        report.refused("read", log.read(lsn));
        report.refused("replay", log.replay().next().unwrap());
        report.refused("replay_from", log.replay_from(lsn));
        report.refused("replay_range", log.replay_range(lsn..));
        report.refused("iteration", log.into_iter().next().unwrap());
        report.refused("checkpoint", log.checkpoint(lsn));
        report.refused("checkpoint_to_slowest", log.checkpoint_to_slowest());
        report.refused("roll", log.roll());
        report.refused("truncate_after", log.truncate_after(lsn));
        report.refused("truncate_all", log.truncate_all());
        report.refused("reset_to", log.reset_to(Lsn::new(1 << 40)));
        report.refused("consumer", log.consumer("another"));
        report.refused("consumer again", log.consumer("one"));
        report.refused("consumers", log.consumers());
        report.refused("metadata", log.metadata());
        report.refused("set_metadata", log.set_metadata(b"x"));
        report.refused("archived", log.archived());
        report.refused("archived_up_to", log.archived_up_to(lsn));
        report.refused("stop_archiving", log.stop_archiving());
        report.refused("blockers", log.blockers());
        report.refused("follow", log.follow(lsn));
        report.refused("when_durable", log.when_durable(lsn).wait());
        let (send, receive) = channel();
        log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
        report.refused("on_durable", receive.try_recv().expect("called at once"));
        report.refused("position", consumer.position());
        report.refused("ack", consumer.ack(lsn));
        report.refused("seek", consumer.seek(lsn));
        report.refused("follow of a consumer", consumer.follow());
        report.refused("remove", consumer.remove());
        let [mut polled, waited] = tickets;
        match Pin::new(&mut polled).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(outcome) => report.refused("poll", outcome),
            std::task::Poll::Pending => report.check(false, "a ticket is pending"),
        }
        report.refused("wait", waited.wait());
        for follower in &mut followers {
            report.refused("try_next", follower.try_next());
            report.refused("next_payload", follower.next_payload());
            report.refused("next_timeout", follower.next_timeout(Duration::from_secs(1)));
        }
        let [first, second, mut third] = followers;
        report.refused("following", first.into_iter().next().expect("an error"));
        let stream = &mut futures_util::StreamExt::next(&mut third);
        match Pin::new(stream).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(Some(outcome)) => report.refused("stream", outcome),
            _ => report.check(false, "a stream is pending or at its end"),
        }
        drop((second, third));
        report.refused("next", replays[0].next().unwrap());
        report.check(replays[0].next().is_none(), "a replay goes on after an error");
        report.refused("next_payload of a replay", replays[1].next_payload());
        // Those that cannot fail.
        let positions = [log.head(), log.durable(), log.end()];
        report.check(positions.is_sorted() && log.checkpoint_lsn() <= log.end(), "positions");
        report.check(log.stats().end == log.end() && log.stats().syncs == 0, "stats");
        report.check(!format!("{log:?} {:?}", log.recovery()).is_empty(), "Debug");
        report.check(consumer.clone().name() == "one", "name");
        report.refused("close", log.close());
    }
}

#[test]
fn p1_p2_whatever_a_child_calls_is_refused_and_the_parent_goes_on() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for n in 0..3_u32 {
        log.append_durable(&n.to_le_bytes()).unwrap();
    }
    let consumer = log.consumer("one").unwrap();
    let lsn = log.append(&3_u32.to_le_bytes()).unwrap();
    let mut handles = Some(Handles::of(&log, &consumer, lsn));
    let end = log.end();
    let child = fork(By::Fork, |_| {
        let mut report = Report::default();
        handles.take().unwrap().call(&mut report);
        report.check(log.end() == end, "the end as of the fork");
        report.end()
    });
    child.done();
    // The same position as the child would have written to.
    log.append_durable(&4_u32.to_le_bytes()).unwrap();
    assert_eq!(numbers(&log), [0, 1, 2, 3, 4]);
    drop(handles);
    drop((consumer, log));
    assert_eq!(numbers(&small().open(dir.path()).unwrap()), [0, 1, 2, 3, 4]);
}

/// The C library learns nothing of such a child, so its allocator may be in any state: nothing here allocates.
#[test]
fn p1_p2_the_child_of_a_bare_system_call_is_refused_too() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let lsn = log.append_durable(&0_u32.to_le_bytes()).unwrap();
    let child = fork(By::Clone, |_| {
        let mut report = Report::default();
        report.refused("append", log.append(b"x"));
        report.refused("append_durable", log.append_durable(b"x"));
        report.refused("commit", log.commit());
        report.refused("read", log.read(lsn));
        report.refused("checkpoint", log.checkpoint(lsn));
        report.refused("close", log.close());
        report.end()
    });
    child.done();
    log.append_durable(&1_u32.to_le_bytes()).unwrap();
    assert_eq!(numbers(&log), [0, 1]);
}

#[test]
fn a_typed_log_refuses_a_child_too() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log: TypedLog<u32> = TypedLog::open_with(small(), dir.path()).unwrap();
    let lsn = log.append(&1).unwrap();
    let mut replay: TypedReplay<'_, u32, _> = log.replay();
    let child = fork(By::Fork, |_| {
        let mut report = Report::default();
        report.refused("append", log.append(&2));
        report.refused("append_durable", log.append_durable(&2));
        report.refused("append_batch", log.append_batch(&[2, 3]));
        report.refused("commit", log.commit());
        report.refused("commit_to", log.commit_to(lsn));
        report.refused("read", log.read(lsn));
        report.refused("replay", log.replay().next().unwrap());
        report.refused("a replay", replay.next().unwrap());
        report.refused("replay_from", log.replay_from(lsn).map(drop));
        report.refused("replay_range", log.replay_range(lsn..).map(drop));
        report.refused("close", log.close());
        report.end()
    });
    child.done();
    log.append_durable(&2).unwrap();
    assert_eq!(log.replay().map(|found| found.unwrap().1).collect::<Vec<_>>(), [1, 2]);
}

pub fn numbers(log: &Log) -> Vec<u32> {
    let number = |payload: &[u8]| u32::from_le_bytes(payload[..4].try_into().unwrap());
    log.replay().map(|record| number(record.unwrap().payload())).collect()
}
