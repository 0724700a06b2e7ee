//! Each call that only helps, or that has another way, refused by the system for good: an old kernel, a file system without it,
//! a sandbox. By strace, and skipped without it.

use std::collections::VecDeque;
use std::process::Stdio;

use duralog::{Log, Options, Tail, WriteMethod};

use crate::alone::{CHILD, WAYS, in_a_child};

const TEST: &str = "calls::p7_a_log_lives_without_calls_that_only_help";
const CALLS: [&str; 9] = [
    "fadvise64",
    "madvise",
    "fremovexattr",
    "ioctl",
    "fallocate",
    "lseek",
    "pwritev",
    "pwritev2",
    "fstatfs",
];
const ERRORS: [&str; 4] = ["ENOSYS", "EPERM", "EINVAL", "EOPNOTSUPP"];

#[test]
fn p7_a_log_lives_without_calls_that_only_help() {
    if let Some(how) = std::env::var_os(CHILD) {
        let by_zeros = how.to_str().unwrap().contains("fallocate");
        return WAYS.into_iter().for_each(|way| live(way, by_zeros));
    }
    let mut probe = std::process::Command::new("strace");
    probe.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return println!("skipped: strace cannot trace here");
    }
    let mut all: VecDeque<_> =
        CALLS.iter().flat_map(|call| ERRORS.map(|error| format!("{call}:error={error}"))).collect();
    // A file system as ext2 is, and one that offers none of it.
    all.push_back("fallocate,fremovexattr:error=EOPNOTSUPP".to_owned());
    all.push_back(format!("{}:error=EOPNOTSUPP", CALLS.join(",")));
    let all = std::sync::Mutex::new(all);
    let next = || all.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(refused) = next() {
                    let calls = refused.split(':').next().unwrap();
                    let how = format!("exec strace -f -qq --seccomp-bpf -o /dev/null -e trace={calls} -e inject={refused}");
                    in_a_child(TEST, &how);
                }
            });
        }
    });
}

/// Open, append over segments, commit, a crash, recover, replay, on and on, close, open.
fn live(way: WriteMethod, by_zeros: bool) {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().segment_size(64 << 10).write_method(way);
    let mut count = 0;
    for life in 0..3 {
        let context = &format!("{way:?}, life {life}");
        let log = ok(options().open(dir.path()), context);
        assert_eq!(log.recovery().tail == Tail::Clean, life != 1, "{way:?}");
        // A new log has to make a file; a later life may find spare ones.
        let said = log.recovery().allocated_by_zeros;
        assert!(if life == 0 { said == by_zeros } else { by_zeros || !said }, "{context}: {said}");
        assert_eq!(log.replay().map(Result::unwrap).count(), count, "{way:?}, life {life}");
        for n in 0..120 {
            // Small ones, one by one, then large ones and many at once.
            let payload = vec![7; if n < 80 { 100 } else { 3000 }];
            ok(log.append(&payload), context);
            count += 1;
            if n < 80 || n % 10 == 0 {
                ok(log.commit(), context);
            }
        }
        ok(log.commit(), context);
        // The worker may still be about to do what was asked of it.
        ok(log.truncate_after(last(&log)), context);
        if life == 0 {
            drop(log); // as a crash
        } else {
            ok(log.close(), context);
        }
    }
    let log = options().open(dir.path()).unwrap();
    let first = log.replay().next().unwrap().unwrap().lsn();
    log.checkpoint(log.durable()).unwrap();
    assert!(log.read(first).is_err() && log.replay().count() == 0, "{way:?}");
}

fn last(log: &Log) -> duralog::Lsn {
    log.replay().last().unwrap().unwrap().lsn()
}

fn ok<T>(result: Result<T, duralog::Error>, context: &str) -> T {
    result.unwrap_or_else(|error| panic!("{context}: {error}"))
}
