//! `bench`: what it prints, and that it leaves nothing behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::common::{TestLog, interrupt, text};

/// As short as it gets: the figures are not looked at.
const SHORT: [&str; 8] =
    ["--threads", "4,1", "--sizes", "1KiB,100", "--rounds", "2", "--millis", "10"];

fn short(flags: &[&'static str]) -> Vec<&'static str> {
    [&SHORT[..], &["--segment-size", "1MiB"], flags].concat()
}

#[test]
fn json_has_every_cell_with_its_units() {
    let log = TestLog::new();
    let report = log.ok("bench", &short(&["--json"]), "");
    let report: Value = serde_json::from_slice(&report).unwrap();
    let keys = |list: &str, keys: [&str; 2]| -> Vec<[u64; 2]> {
        let cells = report[list].as_array().unwrap();
        cells.iter().map(|cell| keys.map(|key| cell[key].as_u64().unwrap())).collect()
    };
    let by = ["record_bytes", "threads"];
    assert_eq!(keys("bare_loop", by), [[100, 1], [1024, 1]]);
    assert_eq!(keys("durable", by), [[100, 1], [100, 4], [1024, 1], [1024, 4]]);
    for cell in report["durable"].as_array().unwrap() {
        let figure = |key: &str| cell[key].as_f64().unwrap();
        assert!(figure("commits_per_second") > 0.0);
        let rising = ["p50", "p99", "p999", "max"].map(|p| figure(&format!("latency_{p}_us")));
        assert!(rising[0] > 0.0 && rising.is_sorted(), "{rising:?}");
        assert!(figure("records_per_sync") >= 1.0 && figure("cpu_share") > 0.0);
    }
    for cell in report["bulk"].as_array().unwrap() {
        for key in ["appends_per_second", "committed_per_second", "replayed_per_second"] {
            assert!(cell[key].as_f64().unwrap() > 0.0, "{key}");
        }
    }
    assert!(report["machine"]["cpus"].as_u64().unwrap() > 0);
    assert!(!report["machine"]["file_system"].as_str().unwrap().is_empty());
    assert_eq!(report["settings"]["segment_bytes"], 1 << 20);
    assert!(!report["verdict"].as_array().unwrap().is_empty());
}

#[test]
fn a_table_and_a_verdict_and_plots_only_on_request() {
    let log = TestLog::new();
    let plain = text(log.ok("bench", &short(&[]), ""));
    let plotted = text(log.ok("bench", &short(&["--plot"]), ""));
    for shown in [&plain, &plotted] {
        assert!(shown.contains("What limits, and what to change\n- "), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(!shown.contains('\x1b'));
    }
    assert!(!plain.contains('█') && plotted.contains('█'));
}

#[test]
fn a_directory_that_was_there_is_left_as_it_was() {
    let log = TestLog::holding("one\n");
    let before = log.inspect();
    let names = || fs::read_dir(log.path()).unwrap().map(|e| e.unwrap().file_name());
    let mut found: Vec<_> = names().collect();
    log.ok("bench", &short(&[]), "");
    let mut left: Vec<_> = names().collect();
    found.sort();
    left.sort();
    assert_eq!(found, left);
    assert_eq!(log.inspect(), before);
    assert_eq!(log.replay(), b"one\n");
}

#[test]
fn one_that_was_made_goes_also_when_it_fails() {
    let log = TestLog::new();
    log.ok("bench", &short(&[]), "");
    assert!(!log.path().exists());
    // No such segment holds such a record: only an opening knows.
    let flags = ["--sizes", "64KiB", "--segment-size", "64KiB", "--millis", "10"];
    let errors = log.fails(2, "bench", &flags);
    assert!(errors.contains("max_record_size: 65536 is out of range"), "{errors}");
    assert!(!log.path().exists());
}

#[test]
fn what_the_disk_has_no_room_for_is_refused_before_it_is_tried() {
    let log = TestLog::new();
    let errors = log.fails(1, "bench", &["--segment-size", "100000TiB", "--quick"]);
    assert!(errors.contains(" free, and measuring may take "), "{errors}");
    assert!(!log.path().exists());
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let log = TestLog::new();
    let child = log.command("bench", &["--sizes", "100", "--millis", "600000"]).spawn().unwrap();
    while fs::read_dir(log.path()).map_or(0, Iterator::count) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = text(output.stderr);
    assert!(errors.contains("interrupted: nothing was left behind"), "{errors}");
    assert!(output.stdout.is_empty() && !log.path().exists());
}

#[test]
fn the_picture_is_written_and_where_it_cannot_be_nothing_is_measured() {
    let temp = tempfile::tempdir().unwrap();
    let bench = |svg: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duralog"));
        let paths = [temp.path().to_owned(), temp.path().join(svg)];
        command.arg("bench").arg(&paths[0]).args(SHORT).arg("--svg").arg(&paths[1]);
        command.output().unwrap()
    };
    assert!(bench("a.svg").status.success());
    let svg = fs::read_to_string(temp.path().join("a.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("1 KiB: latency of a commit"), "{svg}");
    let output = bench("no/a.svg");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("no/a.svg"));
    assert!(output.stdout.is_empty());
}
