//! A writer in another process, killed again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duralog::{Error, Lsn, Reader, ReaderFollower};

use super::{number, options, payload};

const DIR: &str = "DURALOG_TEST_WRITE_IN";
const FIRST: &str = "DURALOG_TEST_WRITE_FROM";

/// Not a test of its own: what the next one runs as a process to kill. It says `b n` before it appends record n and `a n lsn`
/// when that is durable; every sixth is a batch of three, of which the last counts.
#[test]
fn a_writer_to_be_killed() {
    let (Some(dir), Ok(first)) = (std::env::var_os(DIR), std::env::var(FIRST)) else { return };
    let mut n: u32 = first.parse().unwrap();
    let log = options().spare_segments(1).open(dir).unwrap();
    let mut out = std::io::stdout().lock();
    let mut say = |text: String| {
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    };
    loop {
        let record = |n: u32| payload(n, 1 + n as usize % 300);
        let batch = if n % 6 == 0 { 3 } else { 1 };
        say(format!("b {}\n", n + batch - 1));
        let payloads: Vec<_> = (n..n + batch).map(record).collect();
        let lsns = log.append_batch(&payloads).unwrap();
        n += batch;
        if n % 4 != 0 {
            log.commit_to(*lsns.last().unwrap()).unwrap();
            say(format!("a {} {}\n", n - 1, lsns.last().unwrap()));
        }
        if n % 100 == 0 {
            // Behind a follower that keeps up, and now and then past it.
            let durable = log.durable().get();
            let back = if n % 1000 == 0 { 0 } else { 48 << 10 };
            log.checkpoint(Lsn::new(durable.saturating_sub(back))).unwrap();
        }
    }
}

fn start(dir: &Path, first: u32) -> Child {
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args(["--exact", "process::a_writer_to_be_killed", "--nocapture", "--test-threads=1"]);
    let writer = writer.env(DIR, dir).env(FIRST, first.to_string());
    writer.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
}

/// What one follower has seen: runs of records, between which it was told that something is gone.
#[derive(Default)]
struct Seen {
    runs: Vec<Vec<(u32, Lsn)>>,
}

fn watch(reader: &Reader, published: bool, stop: &AtomicBool) -> Result<Seen, Error> {
    let from = |lsn: Lsn| -> Result<ReaderFollower, Error> {
        let follower = reader.follow(lsn)?;
        Ok(if published { follower.published() } else { follower })
    };
    let mut seen = Seen::default();
    let mut at = reader.head()?;
    'again: loop {
        seen.runs.push(Vec::new());
        let mut follower = match from(at) {
            Err(Error::Gone { head, .. }) => {
                at = head;
                continue;
            }
            follower => follower?,
        };
        loop {
            // Asked before, so that what is there by then is seen.
            let last = stop.load(Ordering::SeqCst);
            match follower.next_timeout(Duration::from_millis(200)) {
                Ok(Some(record)) => {
                    let n = number(&record.payload);
                    assert_eq!(record.payload, payload(n, 1 + n as usize % 300));
                    seen.runs.last_mut().unwrap().push((n, record.lsn));
                    at = follower.position();
                    if n % 50 == 0 {
                        // A follower in its next life is the same.
                        match from(at) {
                            Err(Error::Gone { head, .. }) => {
                                at = head;
                                continue 'again;
                            }
                            again => follower = again?,
                        }
                    }
                }
                Ok(None) if last => return Ok(seen),
                Ok(None) => {}
                Err(Error::Gone { head, .. }) => {
                    at = head;
                    continue 'again;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[test]
fn p1_p2_a_writer_that_is_killed_is_followed_through_its_lives() {
    let dir = super::in_memory();
    let path = dir.path();
    drop(options().open(path).unwrap());
    let reader = Reader::open(path).unwrap();
    let (mut next, stop) = (0, AtomicBool::new(false));
    let mut acknowledged = BTreeMap::new();
    let (durable, published) = std::thread::scope(|scope| {
        let durable = scope.spawn(|| watch(&reader, false, &stop));
        let published = scope.spawn(|| watch(&reader, true, &stop));
        for life in 0..12u64 {
            let mut child = start(path, next);
            let end = Instant::now() + Duration::from_millis(40 + life * 13 % 160);
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut killed = false;
            while let Some(Ok(line)) = lines.next() {
                // The harness says something too, and the last line may be cut short.
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["b", n] => next = n.parse::<u32>().unwrap() + 1,
                    ["a", n, lsn] => {
                        let lsn = Lsn::new(lsn.parse().unwrap());
                        acknowledged.insert(n.parse::<u32>().unwrap(), lsn);
                    }
                    _ => {}
                }
                if !killed && Instant::now() > end && next > 20 {
                    child.kill().unwrap();
                    killed = true;
                }
            }
            child.wait().unwrap();
        }
        // One more, which recovers what the last one left and closes.
        options().open(path).unwrap().close().unwrap();
        stop.store(true, Ordering::SeqCst);
        (durable.join().unwrap().unwrap(), published.join().unwrap().unwrap())
    });
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());
    for seen in [&durable, &published] {
        let all: Vec<(u32, Lsn)> = seen.runs.iter().flatten().copied().collect();
        assert!(all.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "doubled, or out of order");
        for (n, lsn) in &all {
            assert!(acknowledged.get(n).is_none_or(|known| known == lsn), "record {n} at {lsn}");
            assert!(*n < next, "no one wrote {n}");
        }
        for run in &seen.runs {
            let Some((first, last)) = run.first().zip(run.last()) else { continue };
            let owed = acknowledged.range(first.0..=last.0);
            let shown: BTreeMap<u32, Lsn> = run.iter().copied().collect();
            let missing = owed.filter(|(n, _)| !shown.contains_key(n)).count();
            assert_eq!(missing, 0, "acknowledged, and passed over");
        }
        let last = acknowledged.last_key_value().unwrap();
        assert!(all.last().unwrap().0 >= *last.0, "the last acknowledged record did not come");
    }
    assert!(durable.runs.iter().map(Vec::len).sum::<usize>() > acknowledged.len() / 4);
}
