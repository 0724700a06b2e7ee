//! What becomes a record, and what is printed of it.

use crate::common::{Appender, TestLog, interrupt, text};

#[test]
fn any_bytes_come_back_as_they_went_in() {
    let mut input: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    input.extend(b"\n\0\0\n\xff\xfe\xc3\x28\n \t \n");
    assert_eq!(TestLog::holding(&input).replay(), input);
}

#[test]
fn a_carriage_return_is_part_of_the_record() {
    assert_eq!(TestLog::holding("one\r\ntwo\r\n\r\n").replay(), b"one\r\ntwo\r\n\r\n");
}

#[test]
fn a_last_line_without_newline_is_a_record() {
    assert_eq!(TestLog::holding("one\ntwo").replay(), b"one\ntwo\n");
    assert_eq!(TestLog::holding("\r").replay(), b"\r\n");
}

#[test]
fn an_empty_line_is_an_empty_record() {
    let log = TestLog::new();
    assert_eq!(log.append_lsns(&[], "\n\none\n\n").len(), 4);
    assert_eq!(log.replay(), b"\n\none\n\n");
}

#[test]
fn empty_input_is_no_record_but_makes_the_log() {
    let log = TestLog::new();
    assert!(log.append_lsns(&[], "").is_empty());
    assert_eq!(log.replay(), b"");
    assert!(text(log.ok("verify", &[], "")).starts_with("sound: 0 records, 0 bytes"));
}

#[test]
fn each_sync_mode_keeps_every_record_and_closes_the_log() {
    let input: String = (0..300).map(|n| format!("record {n}\n")).collect();
    for mode in ["each", "end", "interval"] {
        let log = TestLog::new();
        let lsns = log.append_lsns(&["--sync", mode], &input);
        assert_eq!(lsns.len(), 300, "{mode}");
        assert!(lsns.is_sorted_by(|a, b| a < b), "{mode}");
        assert_eq!(text(log.replay()), input, "{mode}");
        assert!(log.inspect()["clean_end"].is_u64(), "{mode}");
    }
}

#[test]
fn the_lsns_printed_are_those_of_the_records() {
    let log = TestLog::new();
    let mut lsns = log.append_lsns(&["--segment-size", "16384", "--sync", "each"], "one\ntwo\n");
    lsns.extend(log.append_lsns(&[], format!("{}\nfour\n", "x".repeat(12_000))));
    let replayed = text(log.ok("replay", &["--with-lsn"], ""));
    let replayed: Vec<u64> =
        replayed.lines().map(|line| line.split_once('\t').unwrap().0.parse().unwrap()).collect();
    assert_eq!(replayed, lsns);
    assert_eq!(lsns[0], 4096);
}

#[test]
fn nothing_is_printed_unless_asked_and_the_summary_goes_to_standard_error() {
    let log = TestLog::new();
    let output = log.run("append", &[], "one\nthree\n");
    assert!(output.status.success() && output.stdout.is_empty());
    let summary = text(output.stderr);
    let expected = "appended 2 records, 8 bytes, LSN 4096 to 4112, in ";
    assert!(summary.starts_with(expected) && summary.ends_with(" s\n"), "{summary}");
}

#[test]
fn a_log_keeps_its_segment_size_unless_another_is_given() {
    let log = TestLog::new();
    let sizes = |log: &TestLog| -> Vec<u64> {
        let inspected = log.inspect();
        let segments = inspected["segments"].as_array().unwrap();
        segments.iter().map(|segment| segment["size"].as_u64().unwrap()).collect()
    };
    let block = format!("{}\n", "x".repeat(1000)).repeat(100);
    log.ok("append", &["--segment-size", "16384"], &block);
    log.ok("append", &[], &block);
    assert!(sizes(&log).len() > 10 && sizes(&log).iter().all(|size| *size == 16384));
    log.ok("append", &["--segment-size", "32768"], &block);
    assert!(sizes(&log).contains(&32768));
    assert_eq!(text(log.replay()), block.repeat(3));
}

/// As an open on a full disk makes them, to go on at all.
#[test]
fn p7_small_segments_are_not_those_that_a_log_keeps() {
    let log = TestLog::new();
    let large = |log: &TestLog| {
        let inspected = log.inspect();
        let segments = inspected["segments"].as_array().unwrap();
        segments.iter().filter(|segment| segment["size"] == 65536).count()
    };
    let block = format!("{}\n", "x".repeat(1000)).repeat(100);
    log.ok("append", &["--segment-size", "65536"], &block);
    log.ok("append", &["--segment-size", "16384"], &block);
    let before = large(&log);
    log.ok("append", &[], &block);
    assert!(large(&log) > before);
}

#[test]
fn a_new_log_has_segments_of_64_mib() {
    let log = TestLog::holding("one\n");
    assert_eq!(log.inspect()["segments"][0]["size"], 64 << 20);
}

#[test]
fn p5_records_before_one_that_is_too_large_are_committed_and_acknowledged() {
    let log = TestLog::new();
    let input = format!("one\ntwo\n{}\nnever\n", "x".repeat(20_000));
    let output = log.run("append", &["--segment-size", "16384", "--print-lsn"], input);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"4096\n4112\n");
    let errors = text(output.stderr);
    let refusal =
        "line 3 of standard input: it is longer than 12224 bytes, the most that a segment";
    assert!(errors.contains(refusal), "{errors}");
    assert_eq!(log.replay(), b"one\ntwo\n");
}

#[test]
fn a_line_that_no_segment_holds_is_refused() {
    let log = TestLog::new();
    let input = [b"one\n".as_slice(), &vec![b'x'; 17 << 20]].concat();
    let output = log.run("append", &["--segment-size", "1048576"], input);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(output.stderr);
    let refusal =
        "line 2 of standard input: it is longer than 1044416 bytes, the most that a segment";
    assert!(errors.contains(refusal), "{errors}");
    assert_eq!(log.replay(), b"one\n");
}

#[test]
fn a_record_of_the_maximum_comes_back() {
    let input = [vec![b'x'; 16 << 20], b"\n".to_vec()].concat();
    assert!(TestLog::holding(&input).replay() == input);
}

#[test]
fn an_interrupt_ends_it_as_the_end_of_the_input_does() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &[]);
    appender.feed("one\ntwo\nhalf of a li");
    let lsns = [appender.next_lsn(), appender.next_lsn()];
    interrupt(&appender.child);
    let output = appender.child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = text(output.stderr);
    assert!(errors.contains(&format!("2 records, 6 bytes, LSN {} to {}", lsns[0], lsns[1])));
    assert!(errors.contains("line 3 of standard input: interrupted"), "{errors}");
    assert_eq!(log.replay(), b"one\ntwo\n");
    assert!(log.inspect()["clean_end"].is_u64());
}
