//! Root at the side of a service: `sudo duralog checkpoint` once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use duralog::WriteMethod;

use crate::{append, contents, small};

const SERVICE: (u32, u32) = (12345, 23456);

fn owners(dir: &Path) -> Vec<(u32, u32)> {
    let of = |path| fs::metadata(path).map(|found| (found.uid(), found.gid()));
    contents(dir).into_keys().map(|path| of(path).unwrap()).collect()
}

fn is_root(dir: &Path) -> bool {
    let is_root = fs::metadata(dir).unwrap().uid() == 0;
    if !is_root {
        eprintln!("skipped: only root has files of others to make");
    }
    is_root
}

#[test]
fn p12_what_root_makes_in_the_directory_of_a_service_is_the_services() {
    let home = tempfile::tempdir().unwrap();
    if !is_root(home.path()) {
        return;
    }
    for way in [WriteMethod::Auto, WriteMethod::Pwrite] {
        let dir = home.path().join(format!("{way:?}"));
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(SERVICE.0), Some(SERVICE.1)).unwrap();
        let log = small().write_method(way).open(&dir).unwrap();
        append(&log, 0, 300);
        log.checkpoint(log.durable()).unwrap();
        append(&log, 300, 300);
        log.close().unwrap();
        let owners = owners(&dir);
        // MANIFEST, WATERMARK, RESERVE, and segments.
        assert!(owners.len() >= 5 && owners.iter().all(|owner| *owner == SERVICE), "{owners:?}");
        for path in contents(&dir).into_keys() {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }
}

#[test]
fn p12_what_root_makes_in_a_directory_of_its_own_stays_roots() {
    let home = tempfile::tempdir().unwrap();
    if !is_root(home.path()) {
        return;
    }
    // Whoever owns the parent.
    chown(home.path(), Some(SERVICE.0), Some(SERVICE.1)).unwrap();
    let dir = home.path().join("log");
    small().open(&dir).unwrap().close().unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().uid(), 0);
    assert!(owners(&dir).iter().all(|owner| owner.0 == 0));
}
