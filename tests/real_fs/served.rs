//! A device that fails when told to: an image that a process serves as one file by FUSE, below the loop device. A
//! process of its own, which never touches what is mounted on it: its death ends the device, and no one waits
//! for ever. Only as much of the protocol (`include/uapi/linux/fuse.h`) as the loop device uses.

#![allow(clippy::host_endian_bytes, reason = "the kernel speaks in that of the machine")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::disk::unmount_at_last;
use crate::process::{self, Running, Task};

pub const PAGE: usize = 4096;
const MAX_WRITE: usize = 1 << 20;
const HEADER: usize = 40;

/// The side of the test.
pub struct Served {
    file: PathBuf,
    server: Running,
}

impl Served {
    /// Serves the image in `root`.
    pub fn new(root: &Path) -> Result<Served, String> {
        let file = root.join("served");
        File::create(&file).map_err(|e| e.to_string())?;
        let mut server = process::start("serve", root, "");
        match server.expect("serving ").strip_prefix("serving no: ") {
            Some(why) => Err(why.into()),
            None => Ok(Served { file, server }),
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads of the page at `offset` fail from now on.
    pub fn spoil(&mut self, offset: usize) {
        self.tell(&format!("spoil {offset}"));
    }

    /// Every write and flush fails from now on.
    pub fn fail(&mut self) {
        self.tell("fail");
    }

    /// All is well again. How often something failed.
    pub fn heal(&mut self) -> u64 {
        self.tell("heal")
    }

    fn tell(&mut self, order: &str) -> u64 {
        self.server.say(order);
        self.server.expect("done ").trim_start_matches("done ").parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        unmount_at_last(&self.file);
    }
}

#[derive(Default)]
struct Faults {
    spoiled: Vec<u64>,
    failing: bool,
    hits: u64,
}

/// Serves until its stdin ends.
pub fn child(task: &Task) {
    let device = match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(device) => device,
        Err(error) => return println!("\nserving no: /dev/fuse: {error}"),
    };
    let image = File::options().read(true).write(true).open(task.dir.join("image")).unwrap();
    // By a program, since the system call is not safe; its stdin is our device.
    let options = "fd=0,rootmode=100000,user_id=0,group_id=0";
    let mount = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", options, "duralog-test"])
        .arg(task.dir.join("served"))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(device.try_clone().unwrap())))
        .stderr(Stdio::piped())
        .spawn();
    let mount = match mount {
        Ok(mount) => mount,
        Err(error) => return println!("\nserving no: mount: {error}"),
    };
    let faults = Arc::new(Mutex::new(Faults::default()));
    // It may ask for the file before it ends.
    let server = Server { device, image, faults: Arc::clone(&faults) };
    std::thread::spawn(move || server.serve());
    let done = mount.wait_with_output().unwrap();
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr).replace('\n', " ");
        return println!("\nserving no: {why}");
    }
    println!("\nserving yes");
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let mut faults = faults.lock().unwrap();
        match order.split_once(' ') {
            Some((_, offset)) => faults.spoiled.push(offset.parse().unwrap()),
            None => faults.failing = order == "fail",
        }
        println!("\ndone {}", faults.hits);
        if order == "heal" {
            *faults = Faults::default();
        }
    }
}

struct Server {
    device: File,
    image: File,
    faults: Arc<Mutex<Faults>>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(number(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(number(bytes, at))
}

const EIO: i32 = 5;
const ENOSYS: i32 = 38;

impl Server {
    fn serve(&self) {
        let mut request = vec![0; MAX_WRITE + 2 * PAGE];
        loop {
            match (&self.device).read(&mut request) {
                Ok(len) if len >= HEADER => self.answer(&request[..len]),
                Ok(_) => return, // no such device at all
                // Not mounted yet.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(error) if error.raw_os_error() == Some(19) => return, // ENODEV: unmounted
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
            15 => self.read(request),
            16 => self.write(request),
            17 => Ok(vec![0; 80]),          // STATFS
            18 | 25 | 38 => Ok(Vec::new()), // RELEASE, FLUSH, DESTROY
            20 => self.hit(|faults| faults.failing).map(|()| Vec::new()), // FSYNC
            26 => Ok(initial(u32_at(request, HEADER + 4))),
            _ => Err(ENOSYS),
        };
        let (error, body) = match done {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let len = (16 + body.len()) as u32;
        let head = [&len.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes()].concat();
        // Refused if no one waits for it any more.
        drop((&self.device).write(&[head, body].concat()));
    }

    fn hit(&self, is_hit: impl Fn(&Faults) -> bool) -> Result<(), i32> {
        let mut faults = self.faults.lock().unwrap();
        if is_hit(&faults) {
            faults.hits += 1;
            return Err(EIO);
        }
        Ok(())
    }

    fn attributes(&self) -> Vec<u8> {
        let size = self.image.metadata().unwrap().len();
        let mut bytes = [1, size, size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
        // Three times in nanoseconds, mode, links, owner, group, device, block size, flags.
        let words = [0, 0, 0, 0o100_600, 1, 0, 0, 0, PAGE as u32, 0];
        bytes.extend(words.map(u32::to_ne_bytes).concat());
        bytes
    }

    fn read(&self, request: &[u8]) -> Result<Vec<u8>, i32> {
        let (offset, len) = (u64_at(request, HEADER + 8), u32_at(request, HEADER + 16));
        let end = offset + u64::from(len);
        let is_spoiled = |page: &u64| *page < end && offset < *page + PAGE as u64;
        self.hit(|faults| faults.spoiled.iter().any(is_spoiled))?;
        let mut bytes = vec![0; len as usize];
        let size = self.image.metadata().unwrap().len();
        bytes.truncate(size.saturating_sub(offset) as usize);
        self.image.read_exact_at(&mut bytes, offset).map_err(|_| EIO)?;
        Ok(bytes)
    }

    fn write(&self, request: &[u8]) -> Result<Vec<u8>, i32> {
        self.hit(|faults| faults.failing)?;
        let (offset, bytes) = (u64_at(request, HEADER + 8), &request[2 * HEADER..]);
        self.image.write_all_at(bytes, offset).map_err(|_| EIO)?;
        Ok([(bytes.len() as u32).to_ne_bytes(), [0; 4]].concat())
    }
}

/// What INIT is answered: version 7.31, large requests.
fn initial(minor: u32) -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    const MAX_PAGES: u32 = 1 << 22;
    let mut bytes = [7, minor.min(31), 0, BIG_WRITES | MAX_PAGES].map(u32::to_ne_bytes).concat();
    bytes.extend([16u16, 12].map(u16::to_ne_bytes).concat());
    bytes.extend([MAX_WRITE as u32, 1].map(u32::to_ne_bytes).concat());
    bytes.extend([(MAX_WRITE / PAGE) as u16, 0].map(u16::to_ne_bytes).concat());
    bytes.extend([0; 32]);
    bytes
}
