//! A full disk is an error, never a signal, and the log goes on when there is room (P7): on a small file system
//! in memory, where the system lets us mount one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

use std::path::Path;
use std::process::Command;

use duralog::{Options, WriteMethod};

struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new() -> Option<Mounted> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "duralog-test"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mounted(dir));
        }
        println!("skipped: a file system cannot be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

#[test]
fn p7_a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_room() {
    for write in [WriteMethod::Mmap, WriteMethod::Pwrite] {
        let Some(disk) = Mounted::new() else { return };
        let dir = disk.path().join("log");
        let options = || Options::new().segment_size(65536).write_method(write);
        let log = options().open(&dir).unwrap();
        let mut lsns = Vec::new();
        let full = loop {
            match log.append(&[9; 1000]) {
                Ok(lsn) => lsns.push(lsn),
                Err(error) => break error,
            }
        };
        assert!(full.is_full() && !full.is_poisoned(), "{full}");
        // All that was appended can be made durable and read, and the error stays an error.
        log.commit().unwrap();
        assert_eq!(log.replay().count(), lsns.len());
        assert!(log.append(&[9; 1000]).unwrap_err().is_full());
        // Not a byte is free, and yet a checkpoint is possible: it gives room for more.
        let filler = std::fs::File::create(disk.path().join("filler")).unwrap();
        while std::io::Write::write_all(&mut &filler, &[0; 4096]).is_ok() {}
        let kept = *lsns.get(lsns.len() / 2).unwrap();
        assert!(log.checkpoint(kept).unwrap().segments > 2);
        let more = log.append_durable(b"there is room again").unwrap();
        assert_eq!(log.read(more).unwrap().payload(), b"there is room again");
        drop(log);
        let log = options().open(&dir).unwrap();
        assert_eq!(log.replay_from(kept).unwrap().count(), lsns.len() - lsns.len() / 2 + 1);
    }
}
