//! The watermark truncated by another program, under a writer and a reader that waits for it.

use std::fs::File;
use std::time::Duration;

use duralog::{Log, Reader, WriteMethod};

use crate::process::{Task, run};
use crate::{append, numbers, small};

#[test]
fn p7_a_watermark_that_is_truncated_is_no_signal_under_pwrite() {
    for len in [0, 100, 4000] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        run("truncated", &dir, &len.to_string());
        let log = Log::open(&dir).unwrap();
        assert_eq!(numbers(&log), (0..60).collect::<Vec<_>>());
    }
}

pub fn child(task: &Task) {
    let log = small().write_method(WriteMethod::Pwrite).open(&task.dir).unwrap();
    append(&log, 0, 10);
    let mut follower = Reader::open(&task.dir).unwrap().follow(duralog::Lsn::MIN).unwrap();
    for _ in 0..10 {
        follower.next().unwrap().unwrap();
    }
    let watermark = File::options().write(true).open(task.dir.join("WATERMARK")).unwrap();
    watermark.set_len(task.how.parse().unwrap()).unwrap();
    // It sleeps by the file, and looks again by itself.
    assert!(follower.next_timeout(Duration::from_millis(50)).unwrap().is_none());
    for n in 0..50 {
        append(&log, 10 + n, 1);
        follower.next().unwrap().unwrap();
    }
    watermark.set_len(task.how.parse().unwrap()).unwrap();
}
