//! `tail`, alone and beside a writer.

use std::io::{BufRead, BufReader};

use crate::common::{Appender, TestLog, text};

fn tail(log: &TestLog, flags: &[&str]) -> String {
    text(log.ok("tail", flags, ""))
}

#[test]
fn the_last_records_come_however_many_segments_they_lie_in() {
    let log = TestLog::new();
    let lines: Vec<String> = (0..5000).map(|i| format!("record {i:05}")).collect();
    log.ok("append", &["--segment-size", "16KiB"], lines.join("\n"));
    let last = |n: usize| lines[lines.len() - n..].join("\n") + "\n";
    assert_eq!(tail(&log, &[]), last(10));
    for n in [1, 700, 2500, 5000] {
        assert_eq!(tail(&log, &["-n", &n.to_string()]), last(n), "{n}");
    }
    assert_eq!(tail(&log, &["-n", "9999"]), last(5000));
    assert_eq!(tail(&log, &["-n", "0"]), "");
}

#[test]
fn a_log_without_records_has_no_last_one() {
    let log = TestLog::holding("");
    assert_eq!(tail(&log, &[]), "");
    assert!(TestLog::new().fails(1, "tail", &[]).contains("no log"));
}

/// What comes before damage is not what comes last.
#[test]
fn p5_damage_behind_what_is_printed_is_told() {
    let log = TestLog::new();
    let lines: String = (0..1000).map(|i| format!("record {i}\n")).collect();
    let lsns = log.append_lsns(&[], lines);
    log.scribble(lsns[500] + 8, b"X");
    for flags in [&[][..], &["-n", "1", "--durable"], &["-n", "9999"]] {
        let output = log.run("tail", flags, "");
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        assert!(text(output.stdout).ends_with("record 499\n"), "{flags:?}");
        let errors = text(output.stderr);
        assert!(errors.contains("is damaged at offset") && errors.contains("duralog repair"));
    }
}

#[test]
fn who_follows_an_idle_log_ends_with_its_reader() {
    let log = TestLog::holding("one\n");
    let mut tail = log.command("tail", &["-f"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    drop(lines);
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn each_record_comes_when_it_is_appended() {
    let log = TestLog::holding("one\ntwo\n");
    let mut command = log.command("tail", &["-f", "-n", "1", "--with-lsn"]);
    let mut tail = command.spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("\ttwo"));
    // The log was closed, and is opened again.
    let mut appender = Appender::start(&log, &[]);
    for word in ["three", "four"] {
        appender.feed(&format!("{word}\n"));
        let lsn = appender.next_lsn();
        assert_eq!(lines.next().unwrap().unwrap(), format!("{lsn}\t{word}"));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn who_wants_none_of_the_last_is_told_of_the_next() {
    let log = TestLog::holding("one\n");
    let mut tail = log.command("tail", &["-f", "-n", "0"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // Long enough for it to stand where it waits.
    std::thread::sleep(std::time::Duration::from_millis(300));
    log.ok("append", &[], "two\n");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn what_is_not_durable_is_left_out_where_it_is_asked() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &["--sync", "interval"]);
    appender.feed("one\n");
    appender.next_lsn();
    assert_eq!(tail(&log, &["--durable"]), "one\n");
    // Killed at once: what was appended since may be there, and is not durable.
    appender.feed("two\n");
    appender.kill();
    assert_eq!(tail(&log, &["--durable"]), "one\n");
}
