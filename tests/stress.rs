//! Many threads do everything at once; what they were told is what the log holds in the end.
//!
//! `DURALOG_STRESS=rounds` makes it longer; `sanitize.sh` runs it under tools that watch memory and threads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use duralog::{Error, Log, Lsn, Options, Result, WriteMethod};

const THREADS: u64 = 6;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// A record whose append returned Ok, between two moments.
struct Appended {
    lsn: Lsn,
    number: u64,
    began: u64,
    done: u64,
}

/// A cut after `kept`, between two moments.
struct Cut {
    kept: Lsn,
    began: u64,
    done: u64,
}

/// One thread's memory.
struct Thread<'a> {
    log: &'a Log,
    clock: &'a AtomicU64,
    random: Random,
    next: u64,
    appended: Vec<Appended>,
    cuts: Vec<Cut>,
    checkpoint: Lsn,
}

/// 8 to 3,000 bytes that follow from their number.
fn payload(number: u64) -> Vec<u8> {
    let len = 8 + Random(number).below(100) * Random(number + 1).below(30);
    let mut bytes = vec![number as u8; len as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number_of(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == payload(number), "record {number} has changed");
    number
}

/// What another thread's cut or checkpoint may do to a position of ours.
fn unless_gone<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(Error::Gone { .. } | Error::OutOfRange { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

impl Thread<'_> {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn append(&mut self, count: u64) -> Lsn {
        let numbers: Vec<u64> = (0..count).map(|n| self.next + n).collect();
        self.next += count;
        let payloads: Vec<_> = numbers.iter().map(|n| payload(*n)).collect();
        let began = self.now();
        let lsns = if count == 1 {
            vec![self.log.append(&payloads[0]).unwrap()]
        } else {
            self.log.append_batch(&payloads).unwrap()
        };
        let done = self.now();
        let appended = lsns.iter().zip(numbers);
        self.appended.extend(appended.map(|(lsn, number)| Appended {
            lsn: *lsn,
            number,
            began,
            done,
        }));
        *lsns.last().unwrap()
    }

    fn any_lsn(&mut self) -> Option<(Lsn, u64)> {
        let bound = (self.appended.len() as u64).min(50);
        let back = if bound == 0 { return None } else { self.random.below(bound) as usize };
        self.appended.iter().nth_back(back).map(|record| (record.lsn, record.number))
    }

    fn round(&mut self) {
        match self.random.below(100) {
            0..40 => drop(self.append(1)),
            40..55 => {
                let lsn = self.append(1);
                if unless_gone(self.log.commit_to(lsn)).is_some() {
                    assert!(self.log.durable() > lsn);
                }
            }
            55..65 => drop(self.append(3)),
            65..70 => drop(unless_gone(self.log.commit())),
            70..88 => {
                let Some((lsn, number)) = self.any_lsn() else { return };
                if let Some(record) = unless_gone(self.log.read(lsn)) {
                    assert_eq!((record.lsn(), number_of(record.payload())), (lsn, number));
                }
            }
            88..92 => self.replay(),
            92..94 => drop(self.log.roll().unwrap()),
            94..97 => {
                let Some((lsn, _)) = self.any_lsn().filter(|(lsn, _)| *lsn < self.log.durable())
                else {
                    return;
                };
                self.log.checkpoint(lsn).unwrap();
                self.checkpoint = self.checkpoint.max(lsn);
            }
            _ => {
                let kept = self.append(1);
                let began = self.now();
                if unless_gone(self.log.truncate_after(kept)).is_some() {
                    let done = self.now();
                    self.cuts.push(Cut { kept, began, done });
                }
            }
        }
    }

    fn replay(&self) {
        let mut last = Lsn::MIN;
        for record in self.log {
            let Some(record) = unless_gone(record) else { return };
            assert!(record.lsn() > last);
            last = record.lsn();
            number_of(record.payload());
        }
    }
}

/// All that must be there is, nothing that must not, each in its place.
fn check(log: &Log, threads: &[Thread<'_>]) {
    let found: BTreeMap<Lsn, u64> =
        log.replay().map(|r| r.unwrap()).map(|r| (r.lsn(), number_of(r.payload()))).collect();
    let cuts = || threads.iter().flat_map(|thread| &thread.cuts);
    let checkpoint = threads.iter().map(|thread| thread.checkpoint).max().unwrap();
    assert_eq!(log.checkpoint_lsn(), checkpoint);
    let mut known = 0;
    for record in threads.iter().flat_map(|thread| &thread.appended) {
        let lsn = record.lsn;
        let beyond = || cuts().filter(|cut| cut.kept < lsn);
        let is_cut = beyond().any(|cut| record.done < cut.began);
        let may_be_cut = beyond().any(|cut| record.began < cut.done);
        match found.get(&lsn) {
            Some(number) => {
                assert!(*number == record.number && !is_cut, "the record at {lsn}");
                known += 1;
            }
            None => assert!(may_be_cut || lsn < checkpoint, "the record at {lsn} is lost"),
        }
    }
    assert_eq!(known, found.len(), "records that no one appended");
}

fn stress(write: WriteMethod, rounds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let open = || Options::new().segment_size(32 << 10).write_method(write).open(&dir).unwrap();
    let log = open();
    let clock = AtomicU64::new(0);
    let threads: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (log, clock) = (&log, &clock);
                scope.spawn(move || {
                    let mut thread = Thread {
                        log,
                        clock,
                        random: Random(thread),
                        next: thread << 32,
                        appended: Vec::new(),
                        cuts: Vec::new(),
                        checkpoint: Lsn::MIN,
                    };
                    (0..rounds).for_each(|_| thread.round());
                    thread
                })
            })
            .collect();
        spawned.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    log.commit().unwrap();
    check(&log, &threads);
    log.close().unwrap();
    let again = open();
    check(&again, &threads);
    // As a crash, and once more.
    again.append_durable(&payload(99 << 32)).unwrap();
    drop(again);
    assert_eq!(open().replay().last().unwrap().unwrap().payload(), payload(99 << 32));
}

fn rounds() -> u64 {
    std::env::var("DURALOG_STRESS").map_or(200, |rounds| rounds.parse().unwrap())
}

#[test]
fn what_many_threads_were_told_is_what_the_log_holds_by_stores() {
    stress(WriteMethod::Mmap, rounds());
}

#[test]
fn what_many_threads_were_told_is_what_the_log_holds_by_pwrite() {
    stress(WriteMethod::Pwrite, rounds());
}

#[test]
fn what_many_threads_were_told_is_what_the_log_holds_by_whichever_costs_less() {
    stress(WriteMethod::Auto, rounds());
}
