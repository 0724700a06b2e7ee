//! A small file system of its own: an image behind a loop device, or memory.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::process::output as run;
use crate::served::Served;

/// Mounted until it is dropped, also by a panic. The loop device goes with the mount.
pub struct Disk {
    mounted: bool,
    kind: &'static str,
    served: Option<Served>,
    /// Held, so that no other run takes this for what a killed one left.
    _lock: std::fs::File,
    root: tempfile::TempDir,
}

/// How the directory of a disk begins; then the process's id.
const PREFIX: &str = "duralog-real-fs-";
/// What the images may take together: they are sparse.
const ROOM: u64 = 1 << 30;

/// Bytes of the image, a sparse file, and the options of mkfs. xfs takes no less, btrfs hardly.
fn shape(kind: &str) -> (u64, &'static [&'static str]) {
    match kind {
        // One block group: what is not data stands before the data. No blocks held back.
        "ext4" => (64 << 20, &["-q", "-F", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0"]),
        "xfs" => (300 << 20, &["-q"]),
        "btrfs" => (256 << 20, &["-q"]),
        _ => (16 << 20, &[]),
    }
}

/// A directory with room for the images: /tmp may be a small tmpfs, where a write of the loop device would fail.
fn home() -> Result<PathBuf, String> {
    let free = |dir: &PathBuf| {
        rustix::fs::statvfs(dir).is_ok_and(|stat| stat.f_bavail * stat.f_frsize >= ROOM)
    };
    let homes = [std::env::temp_dir(), env!("CARGO_TARGET_TMPDIR").into()];
    homes.into_iter().find(free).ok_or_else(|| "no room for an image of a disk".into())
}

/// Unmounts and removes what a killed run left: there are few loop devices.
fn sweep(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == 0);
        if !ours || pid.is_none_or(|pid| Path::new("/proc").join(pid).exists()) {
            continue;
        }
        // The process may be one of another container that shares this directory.
        let lock = std::fs::File::open(entry.path());
        if lock.is_ok_and(|dir| {
            rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
        }) {
            for mount in ["mnt", "served"] {
                drop(run(Command::new("umount").arg("-l").arg(entry.path().join(mount))));
            }
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// A child that another test has just forked holds copies of our descriptors until it executes its program.
pub fn unmount(path: &Path) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match run(Command::new("umount").arg(path)) {
            Err(why) if why.contains("busy") && begin.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done.map(drop),
        }
    }
}

/// As [`unmount`], and where someone still holds it, it goes when they do.
pub fn unmount_at_last(path: &Path) {
    if unmount(path).is_err() {
        if let Err(why) = run(Command::new("umount").arg("-l").arg(path)) {
            eprintln!("left behind: {}: {why}", path.display());
        }
    }
}

/// Leaves `room` bytes, more or less, of a file system that holds nothing.
pub fn leave(disk: &Path, room: u64) {
    let begin = Instant::now();
    // xfs gives back what was removed later, in a thread of its own.
    let free = loop {
        let stat = rustix::fs::statvfs(disk).unwrap();
        if stat.f_bavail > stat.f_blocks / 2 {
            break stat.f_bavail * stat.f_frsize;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the room of removed files is gone");
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut taken = free.saturating_sub(room);
    let file = std::fs::File::create(disk.join("ballast")).unwrap();
    // Not all that is said to be free can always be had.
    while let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, taken) {
        assert!(error == rustix::io::Errno::NOSPC && taken > 1 << 20, "{taken}: {error}");
        taken -= 1 << 20;
    }
}

impl Disk {
    /// None, and why on stderr, where this cannot be done.
    pub fn new(kind: &'static str) -> Option<Disk> {
        Disk::made(kind, false)
    }

    /// One whose device fails when told to.
    pub fn that_fails(kind: &'static str) -> Option<Disk> {
        Disk::made(kind, true)
    }

    fn made(kind: &'static str, served: bool) -> Option<Disk> {
        Disk::make(kind, served).inspect_err(|why| eprintln!("skipped: {kind}: {why}")).ok()
    }

    fn make(kind: &'static str, served: bool) -> Result<Disk, String> {
        if std::fs::metadata("/proc/self").map_err(|e| e.to_string())?.uid() != 0 {
            return Err("only root may mount".into());
        }
        let home = home()?;
        static SWEEP: Once = Once::new();
        SWEEP.call_once(|| sweep(&home));
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let root = tempfile::Builder::new().prefix(&prefix).tempdir_in(home);
        let root = root.map_err(|e| e.to_string())?;
        let lock = std::fs::File::open(root.path()).map_err(|e| e.to_string())?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|e| e.to_string())?;
        let mut disk = Disk { mounted: false, kind, served: None, _lock: lock, root };
        std::fs::create_dir(disk.path()).map_err(|e| e.to_string())?;
        let (size, options) = shape(kind);
        if kind != "tmpfs" {
            let image = std::fs::File::create(disk.image()).and_then(|file| file.set_len(size));
            image.map_err(|e| e.to_string())?;
            run(Command::new(format!("mkfs.{kind}")).args(options).arg(disk.image()))?;
        }
        if served {
            disk.served = Some(Served::new(disk.root.path())?);
        }
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it, with a loop device that is freed by the unmount, and by the kernel's own one too.
    pub fn mount(&mut self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind, "-o"]);
        match (self.kind, &self.served) {
            ("tmpfs", _) => mount.arg(format!("size={}", shape("tmpfs").0)).arg("duralog-test"),
            (_, None) => mount.arg("loop").arg(self.image()),
            (_, Some(served)) => mount.arg("loop").arg(served.file()),
        };
        run(mount.arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    pub fn unmount(&mut self) {
        unmount(&self.path()).unwrap();
        self.mounted = false;
    }

    /// Unmounts and mounts again: nothing is cached any more.
    pub fn remount(&mut self) {
        self.unmount();
        self.mount().unwrap();
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("mnt")
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }

    /// The device that fails when told to.
    pub fn served(&mut self) -> &mut Served {
        self.served.as_mut().unwrap()
    }

    /// Leaves `room` bytes, more or less, of a file system that holds nothing.
    pub fn leave(&self, room: u64) {
        leave(&self.path(), room);
    }

    /// Everything that was written is in the image, and no page of the segments in the cache.
    pub fn forget(&self, log: &Path) {
        rustix::fs::syncfs(std::fs::File::open(self.path()).unwrap()).unwrap();
        for entry in std::fs::read_dir(log).unwrap() {
            // What its background thread has just removed is gone already.
            let Ok(file) = std::fs::File::open(entry.unwrap().path()) else { continue };
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }

    /// The device's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.image()).unwrap()
    }

    /// Ends the device at `len`: reads beyond are errors from now on. What was there, for `extend`.
    pub fn shrink(&self, len: u64) -> Result<Vec<u8>, String> {
        let rest = self.bytes().split_off(len as usize);
        self.resize(len)?;
        Ok(rest)
    }

    /// Undoes `shrink`.
    pub fn extend(&self, len: u64, rest: &[u8]) -> Result<(), String> {
        let image = std::fs::OpenOptions::new().write(true).open(self.image()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&image, rest, len).unwrap();
        self.resize(len + rest.len() as u64)
    }

    fn resize(&self, len: u64) -> Result<(), String> {
        let image = std::fs::OpenOptions::new().write(true).open(self.image()).unwrap();
        image.set_len(len).unwrap();
        let list = ["--noheadings", "--output", "NAME", "--associated"];
        let device = run(Command::new("losetup").args(list).arg(self.image()))?;
        run(Command::new("losetup").arg("--set-capacity").arg(device.trim())).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            unmount_at_last(&self.path());
        }
    }
}

#[test]
fn a_disk_is_unmounted_by_a_panic_too() {
    for served in [false, true] {
        let Some(disk) = Disk::made("ext4", served) else { return };
        let root = disk.root.path().to_owned();
        let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
        let is_mounted = || mounts().contains(root.file_name().unwrap().to_str().unwrap());
        assert!(is_mounted());
        let thread = std::thread::spawn(move || {
            let _held = std::fs::File::create(disk.path().join("held")).unwrap();
            std::panic::resume_unwind(Box::new(disk.root.path().to_owned()));
        });
        assert!(thread.join().is_err());
        assert!(!is_mounted() && !root.exists());
    }
}
