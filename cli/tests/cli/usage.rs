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

#[test]
fn truncate_undoes_the_end() {
    let log = TestLog::new();
    let lsns = log.append_lsns(&[], "one\ntwo\nthree\n");
    log.ok("truncate", &["--after", &lsns[1].to_string()], "");
    assert_eq!(log.replay(), b"one\ntwo\n");
    assert!(log.fails(1, "truncate", &["--after", &(lsns[1] + 8).to_string()]).contains("LSN"));
}

#[test]
fn each_command_has_an_example_and_a_page() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_duralog")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    run(&["man", "--out", dir.path().to_str().unwrap()]);
    let help = run(&["--help"]);
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = commands.lines().map(|line| line.split_whitespace().next().unwrap());
    for name in names.filter(|name| *name != "help") {
        let help = run(&[name, "--help"]);
        assert!(help.contains("Example: ") && !help.contains('\x1b'), "{name}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{name}: {help}");
        assert!(dir.path().join(format!("duralog-{name}.1")).exists(), "{name}");
        assert!(run(&["completions", "bash"]).contains(&format!("duralog,{name})")), "{name}");
    }
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    for flag in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_duralog"));
        assert_eq!(command.arg(flag).stdout(full).status().unwrap().code(), Some(1));
    }
}
