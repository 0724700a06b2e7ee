//! Cutting the log back, and what a crash right after it leaves.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use duralog::{Log, Lsn, Options};

fn open(dir: &std::path::Path) -> Log {
    Options::new().segment_size(65536).open(dir).unwrap()
}

fn payloads(log: &Log) -> Vec<String> {
    log.replay().map(|r| String::from_utf8(r.unwrap().payload().to_vec()).unwrap()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("record {n}")).collect()
}

/// Whatever came before the cut, a crash after it must not bring the cut records back (P2, P10).
#[test]
fn p2_cut_records_never_come_back() {
    for (rolls, crash_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let mut lsns: Vec<Lsn> = Vec::new();
        for n in 0..22 {
            lsns.push(log.append(format!("record {n}").as_bytes()).unwrap());
            if rolls && n % 5 == 4 {
                log.roll().unwrap();
            }
        }
        log.commit().unwrap();
        if crash_first {
            drop(log);
            log = open(dir.path());
        }
        log.truncate_after(lsns[18]).unwrap();
        assert_eq!(payloads(&log), numbers(0..19), "rolls {rolls}, crash first {crash_first}");
        drop(log);
        let log = open(dir.path());
        assert_eq!(payloads(&log), numbers(0..19), "rolls {rolls}, crash first {crash_first}");
        let next = log.append(b"record 19").unwrap();
        assert!(next > lsns[21], "no LSN names two records");
        log.commit().unwrap();
        drop(log);
        assert_eq!(payloads(&open(dir.path())), numbers(0..20));
    }
}

struct StopOnDrop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Appends that roll take ready segments at any moment, also while a cut is being prepared: the cut once
/// wrote a manifest without an active segment then, and all that was committed later was lost.
#[test]
fn p1_p2_cuts_beside_appends_that_roll_lose_nothing() {
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let log = Options::new().segment_size(16 << 10).open(dir.path()).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also when an assertion fails: else the appends would go on for ever.
            let _stopping = StopOnDrop(&stop);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        match log.append(&[round; 5000]) {
                            Ok(_) => {}
                            Err(error) => panic!("an append failed: {error}"),
                        }
                    }
                });
            }
            for n in 0..60u32 {
                let mark = log.append(&n.to_le_bytes()).unwrap();
                for _ in 0..n % 7 {
                    std::thread::yield_now();
                }
                match log.truncate_after(mark) {
                    Ok(()) => assert_eq!(log.read(mark).unwrap().payload(), n.to_le_bytes()),
                    Err(error) => panic!("a cut failed: {error}"),
                }
                log.checkpoint(mark).unwrap();
            }
        });
        log.commit().unwrap();
        let before: Vec<(Lsn, Vec<u8>)> =
            log.replay().map(|r| r.unwrap()).map(|r| (r.lsn(), r.payload().to_vec())).collect();
        drop(log);
        let log = open(dir.path());
        let after: Vec<(Lsn, Vec<u8>)> =
            log.replay().map(|r| r.unwrap()).map(|r| (r.lsn(), r.payload().to_vec())).collect();
        assert!(before == after, "{} records committed, {} came back", before.len(), after.len());
    }
}
