//! A small file system of its own: an image behind a loop device, or memory.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FallocateFlags;

/// Mounted until it is dropped, also by a panic.
pub struct Disk {
    root: tempfile::TempDir,
    device: Option<String>,
    mounted: bool,
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).into()),
        Ok(done) => Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

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

impl Disk {
    /// None, and why on stderr, where this cannot be done.
    pub fn new(kind: &str) -> Option<Disk> {
        let mut disk = Disk { root: tempfile::tempdir().unwrap(), device: None, mounted: false };
        match disk.make(kind) {
            Ok(()) => Some(disk),
            Err(why) => {
                eprintln!("skipped: {kind}: {why}");
                None
            }
        }
    }

    fn make(&mut self, kind: &str) -> Result<(), String> {
        if std::fs::metadata("/proc/self").map_err(|e| e.to_string())?.uid() != 0 {
            return Err("only root may mount".into());
        }
        let (size, options) = shape(kind);
        std::fs::create_dir(self.path()).unwrap();
        if kind == "tmpfs" {
            let size = format!("size={size}");
            let mount = &["-t", kind, "-o", &size, "duralog-test"];
            run(Command::new("mount").args(mount).arg(self.path()))?;
        } else {
            std::fs::File::create(self.image()).unwrap().set_len(size).unwrap();
            let loops = ["--find", "--show"];
            let device = run(Command::new("losetup").args(loops).arg(self.image()))?;
            let device = self.device.insert(device.trim().to_owned());
            run(Command::new(format!("mkfs.{kind}")).args(options).arg(&*device))?;
            self.mount()?;
        }
        self.mounted = true;
        Ok(())
    }

    fn mount(&self) -> Result<(), String> {
        let device = self.device.as_ref().unwrap();
        run(Command::new("mount").arg(device).arg(self.path())).map(|_| ())
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("mnt")
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }

    /// Leaves `room` bytes, more or less.
    pub fn leave(&self, room: u64) {
        let stat = rustix::fs::statvfs(self.path()).unwrap();
        let taken = (stat.f_bavail * stat.f_frsize).saturating_sub(room);
        let file = std::fs::File::create(self.path().join("ballast")).unwrap();
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, taken).unwrap();
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

    /// The last page of the image that is nothing but `word`, over and over.
    pub fn find(&self, word: [u8; 4]) -> Option<u64> {
        let image = std::fs::read(self.image()).unwrap();
        let is = |page: &[u8]| page.chunks_exact(4).all(|found| found == word);
        image.chunks_exact(4096).rposition(is).map(|page| page as u64 * 4096)
    }

    /// Ends the device at `len`: reads beyond are errors from now on. What was there, for `extend`.
    pub fn shrink(&self, len: u64) -> Result<Vec<u8>, String> {
        let whole = std::fs::read(self.image()).unwrap();
        self.resize(len)?;
        Ok(whole[len as usize..].to_vec())
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
        let device = self.device.as_ref().unwrap();
        run(Command::new("losetup").arg("--set-capacity").arg(device)).map(|_| ())
    }

    /// Unmounts and mounts again: nothing is cached any more.
    pub fn remount(&self) {
        run(Command::new("umount").arg(self.path())).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.path();
        if self.mounted && run(Command::new("umount").arg(&path)).is_err() {
            // Someone still holds it: it goes when they do.
            drop(run(Command::new("umount").arg("-l").arg(&path)));
        }
        if let Some(device) = &self.device {
            if let Err(why) = run(Command::new("losetup").arg("-d").arg(device)) {
                eprintln!("left behind: {device}: {why}");
            }
        }
    }
}
