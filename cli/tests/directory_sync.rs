//! Names are durable before anything rests on them: seen with strace, skipped without it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "common/strace.rs"]
mod strace_here;

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

#[test]
fn p1_the_directory_is_synced_after_each_new_name_and_before_a_manifest_names_it() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, trace) = (dir.path().join("log"), dir.path().join("trace"));
    let exe = env!("CARGO_BIN_EXE_duralog");
    let lines = dir.path().join("lines");
    std::fs::write(&lines, "a line of the log that is some fifty bytes long\n".repeat(20_000))
        .unwrap();
    let append = ["append", log.to_str().unwrap(), "--segment-size", "65536"];
    let mut events = String::new();
    // Creation and rolls; a checkpoint, which leaves files to recycle; rolls that recycle them.
    for args in [&append[..], &["checkpoint", log.to_str().unwrap(), "900000"], &append] {
        let run = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=openat,renameat,renameat2,fsync", "-o"])
            .arg(&trace)
            .arg(exe)
            .args(args)
            .stdin(std::fs::File::open(&lines).unwrap())
            .output();
        let Ok(run) = run else {
            println!("skipped: strace cannot be run");
            return;
        };
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        events += &happened(&std::fs::read_to_string(&trace).unwrap());
    }
    assert!(events.matches('c').count() > 5 && events.contains('r'), "{events}");
    // One thread at a time changes the set of files, so the order of the calls is that of the program.
    for (at, event) in events.char_indices().filter(|(_, event)| *event != 's') {
        assert_eq!(events[at + 1..].chars().next(), Some('s'), "{event} at {at} of {events}");
    }
}
