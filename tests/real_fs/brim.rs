//! Many threads append until the disk is full; what they were told is what the log must hold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use duralog::{Error, Log, Lsn};

const THREADS: u32 = 6;

/// What the log said of each record.
#[derive(Default)]
pub struct Told {
    /// Their appends returned Ok.
    appended: BTreeMap<Lsn, Vec<u8>>,
    /// Below, everything was acknowledged as durable.
    durable: Lsn,
    /// `append_durable` failed by a failed sync: it may or may not be there.
    open: Vec<Vec<u8>>,
    pub poisoned: bool,
    threads: u32,
}

/// 1 to 6,000 bytes that name their thread and number.
fn payload(thread: u32, n: u32) -> Vec<u8> {
    let seed = thread.wrapping_mul(7919).wrapping_add(n);
    let len = 8 + seed.wrapping_mul(2_654_435_761) % 6000;
    let mut bytes = vec![seed as u8; len as usize];
    bytes[..4].copy_from_slice(&thread.to_le_bytes());
    bytes[4..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

/// Takes every byte that is left, in small steps, until a file system that finds room late finds none.
pub fn fill_disk(disk: &Path) {
    let path = disk.join("filler");
    let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) else {
        return;
    };
    let mut len = u64::MAX;
    while file.metadata().unwrap().len() != len {
        len = file.metadata().unwrap().len();
        for step in [65536, 4096, 1] {
            while file.write_all(&vec![0; step]).is_ok() {}
        }
        // Some allocate, or free what was removed, only when asked.
        rustix::fs::syncfs(&file).unwrap_or_default();
        rustix::fs::statvfs(disk).unwrap();
    }
}

/// Takes `bytes` off the end of what fills the disk.
pub fn give_room(disk: &Path, bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(disk.join("filler")).unwrap();
    file.set_len(file.metadata().unwrap().len().saturating_sub(bytes)).unwrap();
    rustix::fs::syncfs(&file).unwrap();
}

pub fn free_disk(disk: &Path) {
    for name in ["filler", "ballast"] {
        drop(std::fs::remove_file(disk.join(name)));
    }
    rustix::fs::syncfs(std::fs::File::open(disk).unwrap()).unwrap();
}

impl Told {
    /// One thread until its first error.
    fn append_until_full(&mut self, log: &Log, thread: u32, acknowledged: &AtomicU32) -> Error {
        for n in 0.. {
            let bytes = payload(thread, n);
            let done = match thread % 3 {
                0 => match log.append_durable(&bytes) {
                    Ok(lsn) => {
                        self.appended.insert(lsn, bytes);
                        Ok(lsn)
                    }
                    Err(error) => {
                        if error.is_poisoned() {
                            self.open.push(bytes);
                        }
                        Err(error)
                    }
                },
                1 => log.append(&bytes).and_then(|lsn| {
                    self.appended.insert(lsn, bytes);
                    log.commit_to(lsn).map(|()| lsn)
                }),
                _ => log.append_batch(&[&bytes, &bytes]).and_then(|lsns| {
                    for lsn in &lsns {
                        self.appended.insert(*lsn, bytes.clone());
                    }
                    if n % 4 == 0 { log.commit().map(|_| lsns[1]) } else { Ok(Lsn::MIN) }
                }),
            };
            match done {
                Ok(lsn) if lsn > Lsn::MIN => {
                    self.durable = self.durable.max(Lsn::new(lsn.get() + 1));
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        unreachable!("a disk is finite")
    }

    /// Threads append, and after `records` more of them something else fills the disk meanwhile.
    pub fn fill(&mut self, log: &Log, disk: &Path, records: u32) {
        let acknowledged = AtomicU32::new(0);
        let first = self.threads;
        self.threads += THREADS;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (first..first + THREADS)
                .map(|thread| {
                    let acknowledged = &acknowledged;
                    scope.spawn(move || {
                        let mut told = Told::default();
                        let error = told.append_until_full(log, thread, acknowledged);
                        (told, error)
                    })
                })
                .collect();
            let running = || threads.iter().any(|thread| !thread.is_finished());
            while acknowledged.load(Ordering::Relaxed) < records && running() {
                std::thread::yield_now();
            }
            fill_disk(disk);
            for thread in threads {
                let (told, error) = thread.join().unwrap();
                assert!(error.is_full(), "{error}");
                self.poisoned |= error.is_poisoned();
                self.appended.extend(told.appended);
                self.open.extend(told.open);
                self.durable = self.durable.max(told.durable);
            }
        });
    }

    pub fn append_durable(&mut self, log: &Log, bytes: &[u8]) {
        let lsn = log.append_durable(bytes).unwrap();
        assert_eq!(self.appended.insert(lsn, bytes.to_vec()), None);
        self.durable = log.durable();
    }

    /// Everything was acknowledged by a commit.
    pub fn committed(&mut self, durable: Lsn) {
        self.durable = self.durable.max(durable);
    }

    /// The log holds, from its head on, what it said, byte for byte.
    pub fn check(&self, log: &Log) {
        let found: Vec<_> = log.replay().map(|record| record.unwrap()).collect();
        let head = log.head();
        let mut expected = self.appended.range(head..);
        let mut last = Lsn::MIN;
        for record in &found {
            if self.open.iter().any(|bytes| bytes == record.payload()) {
                continue;
            }
            let (lsn, bytes) = expected.next().expect("a record that no one appended");
            assert_eq!(*lsn, record.lsn());
            assert!(bytes == record.payload(), "the record at {lsn} has changed");
            last = *lsn;
        }
        // What a failed sync leaves behind is a prefix; else everything is there.
        if let Some((lost, _)) = expected.next() {
            assert!(self.poisoned, "{lost} is lost, {} found, the last {last}", found.len());
            assert!(*lost >= self.durable, "{lost} is lost, durable was {}", self.durable);
        }
    }

    /// A position with about half of the records before it, which is durable.
    pub fn middle(&self, log: &Log) -> Lsn {
        let kept: Vec<_> = self.appended.range(log.head()..self.durable).collect();
        *kept[kept.len() / 2].0
    }
}
