//! P1, seen from the kernel: which system calls come before an LSN is printed.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;
#[path = "common/strace.rs"]
mod strace_here;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use common::{Appender, TestLog};
use strace_here::can_trace;

const CALLS: &str = "trace=write,fdatasync,fsync";

/// A call that completed.
#[derive(Debug, PartialEq)]
enum Call {
    /// The segment was synced.
    Sync,
    /// Lines were written to standard output.
    Print(usize),
}

/// The calls in the order in which they completed. A sync of another file covers no record here.
fn completed(trace: &str, segment: &str) -> Vec<Call> {
    let mut begun = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, what) = line.split_once(' ').unwrap();
        // strace splits a call in two if another thread's comes between.
        let call = match what.trim_start().split_once(" resumed>") {
            Some((_, result)) => format!("{}{result}", begun.remove(thread).unwrap_or_default()),
            None => what.trim_start().to_owned(),
        };
        if let Some((start, _)) = call.split_once(" <unfinished ...>") {
            begun.insert(thread, start.to_owned());
        } else if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
            if call.contains(&format!("{segment}>)")) && call.ends_with("= 0") {
                calls.push(Call::Sync);
            }
        } else if call.starts_with("write(1<") {
            calls.push(Call::Print(call.matches("\\n").count()));
        }
    }
    calls
}

#[test]
fn p1_a_sync_covers_every_printed_lsn() {
    if !can_trace() {
        println!("skipped: no strace here");
        return;
    }
    for mode in ["each", "end", "interval"] {
        let log = TestLog::new();
        // Making a log syncs too: that is done before.
        log.ok("append", &[], "");
        let trace = log.path().with_file_name("trace");
        let traced = log.command("append", &["--sync", mode, "--print-lsn"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "4096", "-e", CALLS, "-o"]).arg(&trace);
        command.arg(traced.get_program()).args(traced.get_args());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut appender = Appender::of(command);
        let mut last = 0;
        for n in 0..5 {
            appender.feed(&format!("record {n}\n"));
            last = appender.next_lsn();
        }
        appender.feed("two\nat once\n");
        let (rest, output) = appender.finish();
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(rest.len(), 2, "{mode}");

        let segment = log.place_of(last).0.display().to_string();
        let calls = completed(&std::fs::read_to_string(trace).unwrap(), &segment);
        let (mut synced, mut printed) = (false, 0);
        for call in &calls {
            match call {
                Call::Sync => synced = true,
                Call::Print(lines) => {
                    assert!(synced, "{mode}: no sync before LSN line {printed}: {calls:?}");
                    assert!(mode != "each" || *lines == 1, "{mode}: {calls:?}");
                    printed += lines;
                    synced = false;
                }
            }
        }
        assert_eq!(printed, 7, "{mode}: {calls:?}");
    }
}

#[test]
fn a_trace_is_read_in_the_order_of_completion() {
    let trace = r#"7 fdatasync(5</log/1.seg> <unfinished ...>
8 fdatasync(6</log/2.seg>) = 0
8 fdatasync(9</log/MANIFEST.new>) = 0
8 write(2<pipe:[1]>, "no\n", 3) = 3
7 <... fdatasync resumed>) = 0
7 write(1<pipe:[2]>, "1\n2\n", 4) = 4
7 fdatasync(5</log/1.seg>) = -1 EIO (Input/output error)"#;
    assert_eq!(completed(trace, "/log/1.seg"), [Call::Sync, Call::Print(2)]);
}
