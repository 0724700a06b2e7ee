//! Slow input, readers that go away, output that cannot be written.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Instant;

use crate::common::{Appender, PATIENCE, TestLog, text};

#[test]
fn p1_slow_input_is_acknowledged_before_more_comes() {
    for mode in ["each", "end", "interval"] {
        let log = TestLog::new();
        let mut appender = Appender::start(&log, &["--sync", mode]);
        appender.feed("one\n");
        let first = appender.next_lsn();
        // A part of a line behind it holds nothing back.
        appender.feed("two\nthree\nfo");
        let (second, third) = (appender.next_lsn(), appender.next_lsn());
        assert!(first < second && second < third, "{mode}");
        let beside = text(log.ok("replay", &["--with-lsn"], ""));
        assert_eq!(beside, format!("{first}\tone\n{second}\ttwo\n{third}\tthree\n"), "{mode}");
        appender.feed("ur");
        let (rest, output) = appender.finish();
        assert!(output.status.success() && rest.len() == 1, "{mode}");
        assert_eq!(log.replay(), b"one\ntwo\nthree\nfour\n", "{mode}");
    }
}

#[test]
fn p4_what_was_appended_survives_a_kill_without_a_commit() {
    let log = TestLog::new();
    let mut child = log.command("append", &["--sync", "end"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    // Nothing was asked to be printed: the log itself shows when they have arrived.
    let deadline = Instant::now() + PATIENCE;
    while log.run("replay", &[], "").stdout != b"one\ntwo\n" {
        assert!(Instant::now() < deadline, "records that were appended can be read");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    log.ok("append", &[], "three\n");
    assert_eq!(log.replay(), b"one\ntwo\nthree\n");
}

#[test]
fn a_reader_of_lsns_that_goes_away_ends_append_quietly_with_all_committed() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &["--sync", "each"]);
    appender.feed("one\n");
    appender.next_lsn();
    let Appender { child, mut stdin, printed } = appender;
    drop(printed);
    let mut fed = 1;
    while stdin.write_all(b"more\n").is_ok() {
        fed += 1;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = text(output.stderr);
    assert_eq!(summary.lines().count(), 1, "{summary}");
    let replayed = text(log.replay());
    assert!(replayed.starts_with("one\nmore\n") && replayed.lines().count() <= fed);
    let records = replayed.lines().count();
    assert!(summary.starts_with(&format!("appended {records} records")), "{summary}");
    assert!(log.inspect()["clean_end"].is_u64());
}

#[test]
fn a_broken_pipe_ends_replay_quietly() {
    let log = TestLog::holding(format!("{}\n", "x".repeat(99)).repeat(20_000));
    let mut child = log.command("replay", &[]).spawn().unwrap();
    let mut line = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(output.stderr), "");
}

#[test]
fn a_broken_pipe_ends_the_other_readers_quietly() {
    let log = TestLog::holding("one\n");
    for (name, flags) in [("verify", [].as_slice()), ("inspect", &[]), ("inspect", &["--json"])] {
        let mut child = log.command(name, flags).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(output.stderr)), (Some(0), String::new()), "{name}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let log = TestLog::holding("one\n");
    let all = [
        ("replay", [].as_slice()),
        ("verify", &[]),
        ("inspect", &[]),
        ("append", &["--print-lsn"]),
    ];
    for (name, flags) in all {
        let mut command = log.command(name, flags);
        let mut child = command.stdout(File::create("/dev/full").unwrap()).spawn().unwrap();
        // It may have ended already.
        drop(child.stdin.take().unwrap().write_all(b"two\n"));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let errors = text(output.stderr);
        assert!(errors.contains("standard output: No space left"), "{name}: {errors}");
    }
    // Appended and committed all the same.
    assert_eq!(log.replay(), b"one\ntwo\n");
}
