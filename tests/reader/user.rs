//! A reader that may not write.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use duralog::Reader;
use duralog::inspect::Inspector;

use super::write;

const NOBODY: u32 = 65534;
const DIR: &str = "DURALOG_TEST_READ_AS_NOBODY";

#[test]
fn a_directory_that_it_may_not_write_is_read_and_followed() {
    if let Some(dir) = std::env::var_os(DIR) {
        return as_nobody(dir.as_ref());
    }
    let outer = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outer.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let dir = outer.path().join("log");
    // So that the writer makes no file while it is followed: it is another user's.
    let log = duralog::Options::new().segment_size(1 << 20).open(&dir).unwrap();
    write(&log, 0..10);
    for _ in 0..3000 {
        // Named: the manifest is made anew for it.
        if Inspector::open(&dir).unwrap().summary().segments.len() > 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        if chown(&path, Some(NOBODY), Some(NOBODY)).is_err() {
            return eprintln!("skipped: it takes root to be another user");
        }
    }
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o500)).unwrap();
    // A copy that it may run, wherever the test was built.
    let program = outer.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut reader = Command::new(program);
    reader.args(["--exact", "user::a_directory_that_it_may_not_write_is_read_and_followed"]);
    let reader = reader.env(DIR, &dir).current_dir("/").uid(NOBODY).gid(NOBODY);
    let mut reader = match reader.spawn() {
        Ok(reader) => reader,
        Err(error) => return eprintln!("skipped: it cannot be run as another user: {error}"),
    };
    let mut next = 10;
    let status = loop {
        if let Some(status) = reader.try_wait().unwrap() {
            break status;
        }
        if next < 500 {
            write(&log, next..next + 1);
            next += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(status.success());
}

fn as_nobody(dir: &std::path::Path) {
    assert!(std::fs::write(dir.join("x"), b"").is_err(), "it may not write");
    assert!(std::fs::File::options().write(true).open(dir.join("WATERMARK")).is_err());
    let reader = Reader::open(dir).unwrap();
    assert!(reader.replay().unwrap().map(Result::unwrap).count() >= 10);
    let follower = reader.follow(reader.head().unwrap()).unwrap();
    let numbers = follower.map(|record| super::number(&record.unwrap().payload));
    assert!(numbers.take(60).eq(0..60));
}
