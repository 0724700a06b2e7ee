//! The disk whose power is cut, from the side of the parent: served by another process, below a loop device, with
//! a file system that is mounted in the scratch directory and nowhere else.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::out;

/// By the numbers that statfs(2) gives them.
const TYPES: [(i64, FileSystem); 3] =
    [(0xEF53, FileSystem::Ext4), (0x5846_5342, FileSystem::Xfs), (0x9123_683E, FileSystem::Btrfs)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    /// That of a directory, or the one that stands for it.
    pub(crate) fn of(dir: &Path) -> FileSystem {
        let found = rustix::fs::statfs(dir).ok();
        let found = found.and_then(|stat| TYPES.iter().find(|(kind, _)| *kind == stat.f_type));
        found.map_or(FileSystem::Ext4, |(_, kind)| *kind)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// As small as it may be: it is kept in memory.
    fn size(self) -> u64 {
        match self {
            FileSystem::Ext4 => 96 << 20,
            FileSystem::Xfs => 300 << 20,
            FileSystem::Btrfs => 256 << 20,
        }
    }
}

pub(crate) fn is_possible(kind: FileSystem) -> Result<(), String> {
    if !std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return Err("needs root".into());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = std::fs::File::options().read(true).write(true).open(device) {
            return Err(format!("{device}: {error}"));
        }
    }
    let mkfs = format!("mkfs.{}", kind.name());
    run(Command::new(&mkfs).arg("-V")).map(drop).map_err(|error| error.to_string())
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
    let done = command.output().with_context(|| name.clone())?;
    if !done.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

pub(crate) struct Power {
    root: PathBuf,
    kind: FileSystem,
    server: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    mounted: bool,
}

impl Power {
    pub(crate) fn new(root: &Path, kind: FileSystem) -> Result<Power> {
        std::fs::create_dir_all(root.join("mnt")).context("the scratch directory")?;
        std::fs::File::create(root.join("served")).context("the scratch directory")?;
        make_image(&root.join("image"), kind)?;
        let mut server = Command::new("/proc/self/exe")
            .arg("torture-disk")
            .arg(root)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the process of the disk")?;
        let orders = server.stdin.take();
        let answers = BufReader::new(server.stdout.take().context("a pipe")?);
        let root = root.to_owned();
        let mut power = Power { root, kind, server, orders, answers, mounted: false };
        power.expect("serving")?;
        remove(&power.root.join("image"))?;
        power.mount()?;
        Ok(power)
    }

    /// Where the file system is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.join("mnt")
    }

    fn expect(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the process of the disk")?;
        if !line.starts_with(word) {
            bail!("the process of the disk says {line:?}");
        }
        Ok(line)
    }

    fn tell(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the process of the disk")?;
        orders.write_all(format!("{order}\n").as_bytes()).context("the process of the disk")
    }

    /// From so many writes on, or from then on, nothing more is done or answered. Returns when it is so.
    pub(crate) fn hold(&mut self, writes: u64, time: Duration) -> Result<()> {
        self.tell(&format!("hold {writes} {}", time.as_millis()))?;
        self.expect("held").map(drop)
    }

    /// While it is held. What is written from now on is lost; all the same it is answered.
    pub(crate) fn cut(&mut self, seed: u64) -> Result<()> {
        self.tell(&format!("cut {seed}"))?;
        self.expect("cut").map(drop)
    }

    /// What was mounted before the cut goes, and what the cut left comes. An error is one of the file system.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.unmount()?;
        self.tell("revive")?;
        self.expect("revived")?;
        self.mount()
    }

    /// With an empty file system.
    pub(crate) fn begin_anew(&mut self) -> Result<()> {
        make_image(&self.root.join("image"), self.kind)?;
        self.tell("load")?;
        self.expect("loaded")?;
        remove(&self.root.join("image"))?;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind.name(), "-o", "loop"]).arg(self.root.join("served"));
        run(mount.arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    /// A process that has just been killed may still be on its way out.
    fn unmount(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.mounted {
            match run(Command::new("umount").arg(self.path())) {
                Ok(()) => self.mounted = false,
                Err(_) if begun.elapsed() < Duration::from_secs(20) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        // Whoever waits for the disk goes on.
        drop(self.tell("cut 0").and_then(|()| self.expect("cut")));
        if self.unmount().is_err() {
            let_go(&self.path());
        }
        let_go(&self.root.join("served"));
        drop(self.orders.take());
        drop(self.server.wait());
    }
}

/// Now, or when whoever holds it has gone.
pub(crate) fn let_go(mount: &Path) {
    if run(Command::new("umount").arg(mount)).is_err() {
        if let Err(error) = run(Command::new("umount").arg("-l").arg(mount)) {
            out::say(format_args!("left behind: {}: {error}", mount.display()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no file of a log")]
fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).context("the image")
}

fn make_image(path: &Path, kind: FileSystem) -> Result<()> {
    let image = std::fs::File::create(path).context("the image")?;
    image.set_len(kind.size()).context("the image")?;
    let mut mkfs = Command::new(format!("mkfs.{}", kind.name()));
    match kind {
        FileSystem::Ext4 => mkfs.args(["-q", "-F"]),
        FileSystem::Xfs | FileSystem::Btrfs => mkfs.args(["-q", "-f"]),
    };
    run(mkfs.arg(path))
}
