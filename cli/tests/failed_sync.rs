//! A failed sync, made by strace; skipped without it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "common/strace.rs"]
mod strace_here;

use std::process::{Command, Stdio};

use strace_here::can_trace;

fn strace(
    args: &[&str],
    log: &std::path::Path,
    trace: &std::path::Path,
) -> Option<std::process::Output> {
    let dir = trace.parent()?;
    let input = dir.join("input");
    std::fs::write(&input, "one\ntwo\nthree\nfour\nfive\n").unwrap();
    let spawned = Command::new("strace")
        .args(["-f", "-qq", "-o", trace.to_str()?])
        .args(args)
        .arg(env!("CARGO_BIN_EXE_duralog"))
        .args(["append", log.to_str()?, "--sync", "each", "--print-lsn", "--segment-size", "65536"])
        .stdin(std::fs::File::open(input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match spawned {
        Ok(child) => Some(child.wait_with_output().unwrap()),
        Err(error) => {
            println!("skipped: strace cannot be run: {error}");
            None
        }
    }
}

/// The first failed sync ends the log, though the kernel would let the next one succeed (P6).
#[test]
fn p6_a_failed_sync_is_final() {
    if !can_trace() {
        return;
    }
    // Each fdatasync of the process in turn fails, once.
    for when in 1..20 {
        let dir = tempfile::tempdir().unwrap();
        let (log, trace) = (dir.path().join("log"), dir.path().join("trace"));
        let inject = format!("inject=fdatasync:error=EIO:when={when}");
        let args = ["-e", "trace=fdatasync,write", "-e", inject.as_str()];
        let Some(output) = strace(&args, &log, &trace) else { return };
        let calls = std::fs::read_to_string(&trace).unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        if !calls.contains("INJECTED") {
            assert!(when > 5, "strace made only {} syncs fail", when - 1);
            break;
        }
        assert_eq!(output.status.code(), Some(1), "failed sync {when}");
        // Every LSN that was told is there when the log is opened anew.
        let replay = Command::new(env!("CARGO_BIN_EXE_duralog"))
            .args(["replay", log.to_str().unwrap(), "--with-lsn"])
            .output()
            .unwrap();
        let found = String::from_utf8(replay.stdout).unwrap();
        for lsn in printed.lines() {
            assert!(found.contains(&format!("{lsn}\t")), "failed sync {when}: {lsn} is lost");
        }
        // At most one that had been synced before, by another thread, is told after the failure.
        let after = calls.split_once("INJECTED").map_or("", |(_, after)| after);
        assert!(after.matches("write(1, ").count() <= 1, "failed sync {when}: it went on");
    }
}
