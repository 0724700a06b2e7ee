//! The log of those who do not wait: what is appended survives the process at once, becomes durable in the background, and
//! all of it is by a close.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use duralog::inspect::Inspector;
use duralog::{Error, Json, Log, Options, Tail, TypedLog};
use serde_json::{Value, json};

const NEVER: Duration = Duration::from_secs(24 * 3600);
const CHILD: &str = "DURALOG_BACKGROUND_CHILD";

fn open(dir: &Path, every: Duration) -> Log {
    Options::new().segment_size(64 << 10).in_background(every).open(dir).unwrap()
}

#[test]
fn what_is_appended_becomes_durable_without_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Duration::from_millis(20));
    for round in 0..3 {
        for n in 0..100 {
            log.append(format!("event {round} {n}").as_bytes()).unwrap();
        }
        let end = log.end();
        // Long enough that only a log that never syncs fails here.
        let begun = Instant::now();
        while log.durable() < end {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} of {end}", log.durable());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(log.stats().syncs >= 3);
}

#[test]
fn an_append_waits_for_no_sync_and_a_close_for_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), NEVER);
    let durable = log.durable();
    let lsns: Vec<_> = (0..500u32).map(|n| log.append(&n.to_le_bytes()).unwrap()).collect();
    assert_eq!((log.durable(), log.stats().syncs), (durable, 0), "nothing has waited");
    log.close().unwrap();
    assert!(log.durable() > lsns[499]);
    assert!(matches!(log.append(b"late"), Err(Error::Closed)));
    assert!(matches!(log.append_batch(&["late"]), Err(Error::Closed)));
    let inspector = Inspector::open(dir.path()).unwrap();
    assert!(inspector.summary().clean_end.is_some_and(|end| end > lsns[499]));
    let log = Log::open(dir.path()).unwrap();
    assert_eq!(log.recovery().tail, Tail::Clean);
    assert!(log.replay().map(|record| record.unwrap().lsn()).eq(lsns));
}

#[test]
fn an_interval_of_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Options::new().in_background(Duration::ZERO).open(dir.path());
    assert!(matches!(refused, Err(Error::InvalidOption { option: "sync_policy", .. })));
}

/// One life of a process that logs and never waits: a test of its own in the child, nothing in the parent.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let log = open(dir.as_ref(), NEVER);
    let log: TypedLog<Value, Json> = TypedLog::new(log, Json);
    let first = log.replay().count();
    let mut output = std::io::stdout().lock();
    for seq in first.. {
        log.append(&json!({"seq": seq})).unwrap();
        if writeln!(output, "\nappended {seq}").is_err() {
            return;
        }
    }
}

#[test]
fn p4_what_was_appended_survives_kills_without_any_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for life in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut heard) = (String::new(), 0);
        // Killed in the midst of several segments; then what is left in the pipe, up to a line that was torn.
        while lines.read_line(&mut line).unwrap() > 0 {
            let seq = line.strip_prefix("appended ").and_then(|rest| rest.strip_suffix('\n'));
            if let Some(seq) = seq {
                told = seq.parse::<usize>().unwrap() + 1;
                heard += 1;
            }
            if heard == 3000 {
                child.kill().unwrap();
            }
            line.clear();
        }
        child.wait().unwrap();
        assert!(heard >= 3000, "the child ended by itself, at {told}");
        let log: TypedLog<Value, Json> = TypedLog::open(dir.path()).unwrap();
        let mut found = 0;
        for event in &log {
            assert_eq!(
                event.unwrap().1,
                json!({"seq": found}),
                "in order, none missing, none twice"
            );
            found += 1;
        }
        assert!(found >= told, "life {life}: {found} of {told}");
        // Left open, as by a crash.
    }
}
