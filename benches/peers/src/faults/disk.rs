//! An ext4 file system of its own, on a device of which chosen writes can be made to fail.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::said::Told;
use super::served::{DEVICE, IMAGE};
use crate::peer::Outcome;

/// A sparse file. Some peers make files of a gibibyte ahead of time.
const SIZE: u64 = 3 << 30;
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Disk {
    root: tempfile::TempDir,
    served: Option<Told>,
    mounted: bool,
}

fn run(command: &mut Command) -> Outcome<()> {
    let done = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim()).into())
        }
    }
}

impl Disk {
    pub fn new(home: &Path) -> Outcome<Disk> {
        let root = tempfile::Builder::new().prefix("peers-disk-").tempdir_in(home)?;
        let mut disk = Disk { root, served: None, mounted: false };
        for name in [DEVICE, "mnt"] {
            fs::create_dir(disk.at(name))?;
        }
        File::create(disk.at(IMAGE))?.set_len(SIZE)?;
        // No block is kept for root, and nothing is left for the kernel to do later.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-b", "4096", "-N", "8192"])
            .args(["-E", lazy])
            .arg(disk.at(IMAGE)))?;
        let root = disk.root.path().to_str().ok_or("a path that is not UTF-8")?;
        let mut served = Told::start(&["serve", root], disk.root.path())?;
        served.expect("serving", PATIENCE)?;
        disk.served = Some(served);
        disk.mount()?;
        Ok(disk)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.at("mnt")
    }

    fn mount(&mut self) -> Outcome<()> {
        let file = self.at(DEVICE).join(DEVICE);
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(file).arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    /// Nothing is cached any more: what is read then is what the device holds.
    pub fn mount_again(&mut self) -> Outcome<()> {
        self.mounted = false;
        run(Command::new("umount").arg(self.path()))?;
        self.mount()
    }

    /// Every write of the device that holds these bytes fails from now on.
    pub fn fail(&mut self, bytes: &str) -> Outcome<()> {
        self.order(&format!("fail {bytes}")).map(drop)
    }

    /// No write fails any more. How many have.
    pub fn heal(&mut self) -> Outcome<u32> {
        self.order("heal")
    }

    fn order(&mut self, order: &str) -> Outcome<u32> {
        let served = self.served.as_mut().ok_or("nothing is served")?;
        served.tell(order)?;
        Ok(served.expect("done", PATIENCE)?.parse()?)
    }

    /// Takes all but `room` bytes, more or less.
    pub fn fill(&self, room: u64) -> Outcome<()> {
        let ballast = File::create(self.ballast())?;
        // SAFETY: plain data, which the call fills.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: an open file and a place for the answer.
        if unsafe { libc::fstatvfs(ballast.as_raw_fd(), &raw mut stat) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        let taken = (stat.f_bavail * stat.f_frsize).saturating_sub(room);
        // SAFETY: an open file.
        if unsafe { libc::fallocate(ballast.as_raw_fd(), 0, 0, taken.cast_signed()) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(ballast.sync_all()?)
    }

    /// Gives back what `fill` took.
    pub fn empty(&self) -> Outcome<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // A last try, and then the kernel's own when no one holds it any more.
            if run(Command::new("umount").arg(self.path())).is_err() {
                drop(run(Command::new("umount").arg("-l").arg(self.path())));
            }
        }
        if let Some(served) = self.served.take() {
            served.finish();
        }
    }
}
