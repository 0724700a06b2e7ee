//! Names are durable before anything rests on them: seen with strace, skipped without it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "common/strace.rs"]
mod strace_here;

use std::path::Path;
use std::process::Command;

use strace_here::can_trace;

/// What happens to the log's directory, in order: `c`reated segment, `r`enamed segment, new `m`anifest, `s`ynced.
fn happened(calls: &str) -> String {
    let event = |call: &str| {
        let done = !call.contains(" = -1 ");
        match call {
            _ if !done => None,
            _ if call.contains("renameat") && call.contains("\"MANIFEST.new\"") => Some('m'),
            _ if call.contains("renameat") => Some('r'),
            _ if call.contains("O_CREAT") && call.contains(".seg\"") => Some('c'),
            // fdatasync is for files; fsync is for the directory alone.
            _ if call.contains(" fsync(") => Some('s'),
            _ => None,
        }
    };
    calls.lines().filter_map(event).collect()
}

/// Runs the program under strace, its input the file; the calls it made, or none where strace cannot be run.
fn traced(dir: &Path, args: &[&str], input: &Path) -> Option<String> {
    let trace = dir.join("trace");
    let run = Command::new("strace")
        // -y: each descriptor with its path.
        .args(["-f", "-qq", "-y", "-e", "trace=openat,renameat,renameat2,fsync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_duralog"))
        .args(args)
        .stdin(std::fs::File::open(input).unwrap())
        .output();
    let Ok(run) = run else {
        println!("skipped: strace cannot be run");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(std::fs::read_to_string(&trace).unwrap())
}

#[test]
fn p1_the_directory_is_synced_after_each_new_name_and_before_a_manifest_names_it() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let lines = dir.path().join("lines");
    std::fs::write(&lines, "a line of the log that is some fifty bytes long\n".repeat(20_000))
        .unwrap();
    let append = ["append", log.to_str().unwrap(), "--segment-size", "65536"];
    let mut events = String::new();
    // Creation and rolls; a checkpoint, which leaves files to recycle; rolls that recycle them.
    for args in [&append[..], &["checkpoint", log.to_str().unwrap(), "900000"], &append] {
        let Some(calls) = traced(dir.path(), args, &lines) else { return };
        events += &happened(&calls);
    }
    assert!(events.matches('c').count() > 5 && events.contains('r'), "{events}");
    // One thread at a time changes the set of files, so the order of the calls is that of the program.
    for (at, event) in events.char_indices().filter(|(_, event)| *event != 's') {
        assert_eq!(events[at + 1..].chars().next(), Some('s'), "{event} at {at} of {events}");
    }
}

#[test]
fn p1_the_name_of_the_directory_itself_is_synced_before_anything_is_in_it() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().canonicalize().unwrap();
    let log = parent.join("log");
    let lines = parent.join("lines");
    std::fs::write(&lines, "one\n").unwrap();
    // Also when the caller made the directory, who need not have synced its name.
    for made in [false, true] {
        if made {
            std::fs::remove_dir_all(&log).unwrap();
            std::fs::create_dir(&log).unwrap();
        }
        let Some(calls) = traced(&parent, &["append", log.to_str().unwrap()], &lines) else {
            return;
        };
        let synced = format!("<{}>)", parent.display());
        let synced =
            calls.lines().position(|call| call.contains(" fsync(") && call.contains(&synced));
        let first =
            calls.lines().position(|call| call.contains("O_CREAT") && call.contains("/log>"));
        assert!(synced.unwrap() < first.unwrap(), "{calls}");
    }
}

#[test]
fn p1_each_directory_on_the_way_is_synced_by_name_before_anything_is_in_it() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let above = dir.path().canonicalize().unwrap();
    let lines = above.join("lines");
    std::fs::write(&lines, "one\n").unwrap();
    let log = above.join("a/b/log");
    let Some(calls) = traced(&above, &["append", log.to_str().unwrap()], &lines) else { return };
    let calls: Vec<&str> = calls.lines().collect();
    let first = calls.iter().position(|call| call.contains("O_CREAT") && call.contains("/log>"));
    for parent in [above.clone(), above.join("a"), above.join("a/b")] {
        let name = format!("<{}>)", parent.display());
        let synced = |call: &&str| call.contains(" fsync(") && call.contains(&name);
        assert!(calls[..first.unwrap()].iter().any(synced), "{name}: {calls:?}");
    }
}
