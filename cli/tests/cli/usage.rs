//! Wrong usage exits 2 and touches nothing; help shows an example.

use std::process::Command;

use crate::common::{TestLog, text};

#[test]
fn wrong_usage_exits_2_and_makes_nothing() {
    let log = TestLog::new();
    let wrong: [(&str, &[&str]); 20] = [
        ("append", &["--sync", "sometimes"]),
        ("append", &["--segment-size", "many"]),
        ("append", &["--segment-size", "-1"]),
        ("append", &["--segment-size", "0"]),
        ("append", &["--segment-size", "8192"]),
        ("append", &["--segment-size", "65537"]),
        ("append", &["--segment-size", "8589934592"]),
        ("append", &["--unknown"]),
        ("append", &["another-dir"]),
        ("replay", &["--from", "here"]),
        ("inspect", &["--xml"]),
        ("checkpoint", &[]),
        ("checkpoint", &["-5"]),
        ("bench", &["--threads", "0"]),
        ("bench", &["--sizes", "0"]),
        ("bench", &["--sizes", "17MiB"]),
        ("bench", &["--quick", "--rounds", "2"]),
        ("bench", &["--json", "--plot"]),
        ("bench", &["--segment-size", "8192"]),
        ("obliterate", &[]),
    ];
    for (name, flags) in wrong {
        let errors = log.fails(2, name, flags);
        assert!(!errors.is_empty(), "{name} {flags:?}");
    }
    assert!(!log.path().exists());
}

#[test]
fn a_segment_size_out_of_range_is_told_the_range() {
    let log = TestLog::holding("one\n");
    let errors = log.fails(2, "append", &["--segment-size", "5"]);
    assert!(errors.contains("segment_size: 5 is out of range: 16384 to 4294967296"), "{errors}");
    assert_eq!(log.replay(), b"one\n");
}

#[test]
fn no_command_or_no_directory_exits_2() {
    for args in
        [&[][..], &["append"], &["replay"], &["verify"], &["inspect"], &["checkpoint"], &["bench"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_duralog")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(output.stderr).contains("Usage: duralog"), "{args:?}");
    }
}

#[test]
fn help_of_each_command_shows_an_example() {
    for name in ["append", "replay", "verify", "inspect", "checkpoint", "bench"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_duralog")).args([name, "--help"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}");
        let help = text(output.stdout);
        assert!(
            help.lines().any(|line| line.starts_with("Example: ") && line.contains(name)),
            "{help}"
        );
    }
}
