//! `replay`, `verify` and `inspect` of a sound log.

use crate::common::{Appender, TestLog, text};

#[test]
fn replay_begins_at_the_first_record_at_or_after_the_lsn() {
    let log = TestLog::new();
    let lsns = log.append_lsns(&[], "one\ntwo\nthree\n");
    let from = |lsn: u64| text(log.ok("replay", &["--from", &lsn.to_string()], ""));
    assert_eq!(from(0), "one\ntwo\nthree\n");
    assert_eq!(from(lsns[0]), "one\ntwo\nthree\n");
    assert_eq!(from(lsns[1]), "two\nthree\n");
    assert_eq!(from(lsns[1] + 1), "three\n");
    assert_eq!(from(lsns[2] + 1), "");
}

#[test]
fn replay_prints_the_lsn_and_a_tab_before_each_record() {
    let log = TestLog::new();
    let lsns = log.append_lsns(&[], "one\n\n\ttabbed\n");
    let expected = format!("{}\tone\n{}\t\n{}\t\ttabbed\n", lsns[0], lsns[1], lsns[2]);
    assert_eq!(text(log.ok("replay", &["--with-lsn"], "")), expected);
    let from = ["--with-lsn", "--from", &lsns[2].to_string()];
    assert_eq!(text(log.ok("replay", &from, "")), format!("{}\t\ttabbed\n", lsns[2]));
}

#[test]
fn replay_from_an_lsn_outside_the_log_says_so() {
    let log = TestLog::holding("one\n");
    let errors = log.fails(1, "replay", &["--from", "999999999999"]);
    let expected = "LSN 999999999999 is not in the log, which goes from 4096";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn verify_of_a_sound_log_counts_it() {
    let log = TestLog::holding("one\ntwo\n");
    let found = text(log.ok("verify", &[], ""));
    // How many segments were made ready ahead depends on the moment.
    assert!(found.starts_with("sound: 2 records, 6 bytes, end 4128, "), "{found}");
    assert!(found.ends_with(" segments; closed cleanly\n"), "{found}");
}

#[test]
fn p8_readers_need_no_lock_and_change_no_byte() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &["--segment-size", "16384"]);
    appender.feed("one\n");
    appender.next_lsn();
    assert_eq!(log.replay(), b"one\n");
    assert!(text(log.ok("verify", &[], "")).contains("1 records, 3 bytes"));
    assert!(log.inspect()["clean_end"].is_null());

    // A log that was not closed is left so: recovery is the writer's.
    appender.kill();
    let files = || {
        let entries = std::fs::read_dir(log.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = files();
    assert_eq!(log.replay(), b"one\n");
    assert!(text(log.ok("verify", &[], "")).contains("not closed cleanly"));
    assert!(log.inspect()["clean_end"].is_null());
    assert!(files() == before);
}

#[test]
fn inspect_shows_the_positions_and_each_segment() {
    let log = TestLog::new();
    let lsns =
        log.append_lsns(&["--segment-size", "16384"], format!("{}\n", "x".repeat(5000)).repeat(5));
    let shown = log.inspect();
    assert_eq!(shown["head"], 4096);
    assert_eq!(shown["checkpoint"], 0);
    assert_eq!(shown["log_id"].as_str().unwrap().len(), 32);
    let end = shown["clean_end"].as_u64().unwrap();
    assert!(end > lsns[4] && shown["durable"] == end);
    let segments = shown["segments"].as_array().unwrap();
    assert_eq!(segments[0]["state"], "sealed");
    assert!(segments.iter().any(|segment| segment["state"] == "active" && segment["end"] == end));
    for segment in segments {
        assert_eq!(segment["size"], 16384);
        let salt = segment["salt"].as_str().unwrap();
        assert!(salt.len() == 16 && u64::from_str_radix(salt, 16).is_ok());
        assert!(log.path().join(segment["file"].as_str().unwrap()).is_file());
    }

    let table = text(log.ok("inspect", &[], ""));
    for word in ["log id", "generation", "head", "checkpoint", "durable", "clean end", "state"] {
        assert!(table.contains(word), "{word}:\n{table}");
    }
    for segment in segments {
        let line =
            table.lines().find(|line| line.starts_with(segment["file"].as_str().unwrap())).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], segment["state"].as_str().unwrap());
        assert_eq!((words[2], words[4]), (segment["base"].to_string().as_str(), "16384"));
    }
}
