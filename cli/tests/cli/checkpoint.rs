//! `checkpoint`: what it gives back, and what it refuses.

use crate::common::{TestLog, text};

/// A log over several segments; the LSNs of its hundred records.
fn long() -> (TestLog, Vec<u64>) {
    let log = TestLog::new();
    let input: String = (0..100).map(|n| format!("{n:0>1000}\n")).collect();
    let lsns = log.append_lsns(&["--segment-size", "16384"], input);
    (log, lsns)
}

fn first_replayed(log: &TestLog) -> Option<u64> {
    let replayed = text(log.ok("replay", &["--with-lsn"], ""));
    replayed.lines().next().map(|line| line.split_once('\t').unwrap().0.parse().unwrap())
}

#[test]
fn a_checkpoint_gives_whole_segments_back_and_keeps_all_that_is_needed() {
    let (log, lsns) = long();
    let output = log.run("checkpoint", &[&lsns[60].to_string()], "");
    assert!(output.status.success() && output.stdout.is_empty());
    let said = text(output.stderr);
    assert!(said.starts_with(&format!("checkpoint at LSN {}: ", lsns[60])), "{said}");
    assert!(!said.contains(": 0 segments"), "{said}");
    let first = first_replayed(&log).unwrap();
    assert!(lsns[0] < first && first <= lsns[60]);
    let kept = lsns.iter().filter(|lsn| **lsn >= first).count();
    assert_eq!(text(log.replay()).lines().count(), kept);
    assert_eq!(log.inspect()["checkpoint"], lsns[60]);
    let errors = log.fails(1, "replay", &["--from", &lsns[0].to_string()]);
    assert!(errors.contains("is not in the log"), "{errors}");
    log.ok("append", &[], "more\n");
    assert!(text(log.replay()).ends_with("\nmore\n"));
}

#[test]
fn a_checkpoint_at_the_end_empties_the_log() {
    let (log, _) = long();
    let end = log.inspect()["clean_end"].to_string();
    log.ok("checkpoint", &[&end], "");
    assert_eq!(log.replay(), b"");
    log.ok("append", &[], "more\n");
    assert_eq!(log.replay(), b"more\n");
}

#[test]
fn a_checkpoint_below_the_present_one_changes_nothing() {
    let (log, lsns) = long();
    log.ok("checkpoint", &[&lsns[60].to_string()], "");
    let before = log.replay();
    let output = log.run("checkpoint", &["0"], "");
    assert!(text(output.stderr).contains(&format!("checkpoint at LSN {}: 0 segments", lsns[60])));
    assert!(log.replay() == before);
}

#[test]
fn p5_a_checkpoint_beyond_the_end_is_refused_and_nothing_is_lost() {
    let (log, _) = long();
    let before = log.replay();
    for lsn in ["18446744073709551615", "1000000"] {
        let errors = log.fails(1, "checkpoint", &[lsn]);
        assert!(errors.contains(&format!("checkpoint at LSN {lsn} is beyond")), "{errors}");
    }
    assert!(log.replay() == before);
    assert!(log.inspect()["clean_end"].is_u64());
}

#[test]
fn a_checkpoint_needs_a_log_and_makes_none() {
    let log = TestLog::new();
    let errors = log.fails(1, "checkpoint", &["4096"]);
    assert!(errors.contains("there is no log in"), "{errors}");
    assert!(!log.path().exists());
}

#[test]
fn who_says_not_where_to_is_told_both_ways() {
    let (log, _) = long();
    let errors = log.fails(2, "checkpoint", &[]);
    assert!(errors.contains("--to-slowest") && errors.contains("<LSN"), "{errors}");
}
