//! All memory of the process is locked.

use duralog::Options;
use rustix::mm::{MlockAllFlags, mlockall};

use crate::alone::{WAYS, in_a_child};

#[test]
fn p7_a_log_in_locked_memory_goes_on() {
    if !in_a_child("locked::p7_a_log_in_locked_memory_goes_on", "exec") {
        return;
    }
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        return println!("skipped: no memory can be locked here: {error}");
    }
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let mut committed = 0;
        for life in 0..4 {
            let options = Options::new().segment_size(1 << 20).write_method(way);
            let log = options.open(dir.path()).unwrap();
            assert_eq!(log.replay().map(Result::unwrap).count(), committed, "{way:?}");
            // Small commits, before which the worker makes the cache ready chunk by chunk.
            for n in 0..400 {
                let appended = log.append_durable(&[7; 1000]);
                appended.unwrap_or_else(|error| panic!("{way:?}, life {life}, {n}: {error}"));
                committed += 1;
            }
            if life % 2 == 0 {
                log.close().unwrap();
            }
        }
    }
}
