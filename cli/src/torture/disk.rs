//! The process that serves the disk in memory: one file by FUSE, below the loop device. A process of its own, which never
//! touches what is mounted on it: its death ends the device, and no one waits for ever. Only as much of the
//! protocol (`include/uapi/linux/fuse.h`) as the loop device uses.

#![allow(clippy::host_endian_bytes, reason = "the kernel speaks in that of the machine")]

use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::platter::Platter;
use crate::out;

/// A part of `torture`: the disk whose power is cut.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Holds the image, and a file to serve it as
    dir: PathBuf,
}

const PAGE: u32 = 4096;
const MAX_WRITE: u32 = 1 << 20;
const HEADER: usize = 40;
const ENOSYS: i32 = 38;
const ENODEV: i32 = 19;

#[derive(Default)]
struct State {
    platter: Platter,
    /// Holds its breath after so many more writes, or then.
    hold: Option<(u64, Instant)>,
    held: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Serves until its standard input ends; then nothing of it stays mounted.
pub(crate) fn run(args: &Args) -> Result<()> {
    let image = std::fs::read(args.dir.join("image")).context("the image")?;
    let device = File::options().read(true).write(true).open("/dev/fuse").context("/dev/fuse")?;
    // By a program, since the system call is not safe; its stdin is our device.
    let options = "fd=0,rootmode=100000,user_id=0,group_id=0";
    let mount = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", options, "duralog-torture"])
        .arg(args.dir.join("served"))
        .stdin(Stdio::from(OwnedFd::from(device.try_clone().context("/dev/fuse")?)))
        .stderr(Stdio::piped())
        .spawn()
        .context("mount")?;
    let state = State { platter: Platter::new(&image), ..State::default() };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    // It may ask for the file before it ends.
    let server = Server { device, shared: Arc::clone(&shared) };
    std::thread::spawn(move || server.serve());
    let done = mount.wait_with_output().context("mount")?;
    if !done.status.success() {
        bail!("mount: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    out::print("serving\n")?;
    for order in std::io::stdin().lock().lines().map_while(Result::ok) {
        out::print(&format!("{}\n", obey(&shared, &args.dir, &order)?))?;
    }
    leave(&args.dir);
    Ok(())
}

/// The parent may have been killed: its mounts go with us.
fn leave(dir: &Path) {
    for mount in ["mnt", "served"] {
        let mut umount = Command::new("umount");
        umount.arg("-l").arg(dir.join(mount));
        drop(umount.stderr(Stdio::null()).stdout(Stdio::null()).status());
    }
}

fn obey(shared: &Shared, dir: &Path, order: &str) -> Result<String> {
    let words: Vec<&str> = order.split(' ').collect();
    let number = |at: usize| -> Result<u64> {
        words.get(at).and_then(|word| word.parse().ok()).with_context(|| order.to_owned())
    };
    let mut state = shared.lock();
    match words.first().copied() {
        Some("hold") => {
            let until = Instant::now() + Duration::from_millis(number(2)?);
            state.hold = Some((number(1)?, until));
            while !state.held {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    state.held = true;
                    break;
                }
                state = shared
                    .changed
                    .wait_timeout(state, left)
                    .map_or_else(|e| e.into_inner().0, |s| s.0);
            }
            Ok("held".into())
        }
        Some("cut") => {
            let (unflushed, kept) = state.platter.cut(fastrand::Rng::with_seed(number(1)?));
            (state.hold, state.held) = (None, false);
            shared.changed.notify_all();
            Ok(format!("cut {unflushed} {kept}"))
        }
        Some("revive") => {
            state.platter.revive();
            Ok("revived".into())
        }
        Some("load") => {
            state.platter = Platter::new(&std::fs::read(dir.join("image")).context("the image")?);
            Ok("loaded".into())
        }
        _ => bail!("{order}"),
    }
}

struct Server {
    device: File,
    shared: Arc<Shared>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..at + 4).and_then(|found| found.try_into().ok());
    u32::from_ne_bytes(found.unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..at + 8).and_then(|found| found.try_into().ok());
    u64::from_ne_bytes(found.unwrap_or_default())
}

fn position(request: &[u8]) -> usize {
    usize::try_from(u64_at(request, HEADER + 8)).unwrap_or(usize::MAX)
}

impl Server {
    fn serve(&self) {
        let room = usize::try_from(MAX_WRITE + 2 * PAGE).unwrap_or_default();
        let mut request = vec![0; room];
        loop {
            match (&self.device).read(&mut request) {
                Ok(len) if len >= HEADER => self.answer(request.get(..len).unwrap_or_default()),
                Ok(_) => return, // no such device at all
                // Not mounted yet.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) if error.raw_os_error() == Some(ENODEV) => return, // unmounted
                Err(_) => {}
            }
        }
    }

    fn answer(&self, request: &[u8]) {
        let (opcode, unique) = (u32_at(request, 4), u64_at(request, 8));
        let done = match opcode {
            2 | 36 | 42 => return, // FORGET, INTERRUPT, BATCH_FORGET
            3 | 4 => Ok([&[0xFF; 8][..], &[0; 8], &self.attributes()].concat()), // GETATTR, SETATTR
            // OPEN: past the page cache, so that each request of the loop device is one of ours.
            14 => Ok([&[0; 8][..], &1u32.to_ne_bytes(), &[0; 4]].concat()),
            15 => Ok(self.read(request)),
            16 => Ok(self.write(request)),
            17 => Ok(vec![0; 80]),          // STATFS
            18 | 25 | 38 => Ok(Vec::new()), // RELEASE, FLUSH, DESTROY
            20 => Ok(self.flush()),         // FSYNC
            26 => Ok(initial(u32_at(request, HEADER + 4))),
            _ => Err(ENOSYS),
        };
        let (error, body) = match done {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let len = u32::try_from(16 + body.len()).unwrap_or_default();
        let head = [&len.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes()].concat();
        // Refused if no one waits for it any more.
        drop((&self.device).write(&[head, body].concat()));
    }

    fn attributes(&self) -> Vec<u8> {
        let size = self.shared.lock().platter.len();
        let mut bytes = [1, size, size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
        // Three times in nanoseconds, mode, links, owner, group, device, block size, flags.
        let words = [0, 0, 0, 0o100_600, 1, 0, 0, 0, PAGE, 0];
        bytes.extend(words.map(u32::to_ne_bytes).concat());
        bytes
    }

    /// While it holds its breath nothing is done and no one is answered: what was promised by then is all that is.
    fn breathe(&self, is_write: bool) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        if let Some((writes, until)) = state.hold {
            if writes == 0 || Instant::now() >= until {
                state.held = true;
                self.shared.changed.notify_all();
            } else if is_write {
                state.hold = Some((writes - 1, until));
            }
        }
        while state.held {
            state = self.shared.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        state
    }

    fn read(&self, request: &[u8]) -> Vec<u8> {
        let len = usize::try_from(u32_at(request, HEADER + 16)).unwrap_or_default();
        self.breathe(false).platter.read(position(request), len).to_vec()
    }

    fn write(&self, request: &[u8]) -> Vec<u8> {
        let bytes = request.get(2 * HEADER..).unwrap_or_default();
        self.breathe(true).platter.write(position(request), bytes);
        let len = u32::try_from(bytes.len()).unwrap_or_default();
        [len.to_ne_bytes(), [0; 4]].concat()
    }

    fn flush(&self) -> Vec<u8> {
        self.breathe(true).platter.flush();
        Vec::new()
    }
}

/// What INIT is answered: version 7.31, large requests.
fn initial(minor: u32) -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    const MAX_PAGES: u32 = 1 << 22;
    let mut bytes = [7, minor.min(31), 0, BIG_WRITES | MAX_PAGES].map(u32::to_ne_bytes).concat();
    bytes.extend([16u16, 12].map(u16::to_ne_bytes).concat());
    bytes.extend([MAX_WRITE, 1].map(u32::to_ne_bytes).concat());
    bytes.extend(u16::try_from(MAX_WRITE / PAGE).unwrap_or_default().to_ne_bytes());
    bytes.extend([0; 2]); // map alignment
    bytes.extend([0; 32]);
    bytes
}
