//! A log whose manifest is lost is rebuilt as it was, or not at all (P2, P5).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::path::Path;

use duralog::inspect::{Found, Inspector, Salvage};
use duralog::{Log, Lsn, Options};

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

fn lose_the_manifest(dir: &Path) {
    std::fs::remove_file(dir.join("MANIFEST")).unwrap();
}

fn write_at(dir: &Path, id: u64, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let path = dir.join(format!("{id:016x}.seg"));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

fn payloads(log: &Log) -> Vec<(Lsn, Vec<u8>)> {
    let records = log.replay().map(|record| record.unwrap());
    records.map(|record| (record.lsn(), record.payload().to_vec())).collect()
}

/// What `rebuild` makes, and before that what was in the log.
fn rebuilt(dir: &Path, new: &Path) -> Option<Vec<(Lsn, Vec<u8>)>> {
    lose_the_manifest(dir);
    Salvage::rebuild(dir, new).unwrap()?;
    let log = options().open(new).unwrap();
    let found = payloads(&log);
    log.close().unwrap();
    Some(found)
}

/// "They are gone for good, and their LSNs name nothing ever again."
#[test]
fn p2_what_was_cut_away_is_not_rebuilt() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let log = options().open(&dir).unwrap();
    let lsns: Vec<Lsn> = (0..10u8).map(|i| log.append_durable(&[i; 8]).unwrap()).collect();
    log.truncate_after(lsns[4]).unwrap();
    log.append_durable(b"another five").unwrap();
    let before = payloads(&log);
    log.close().unwrap();
    if let Some(after) = rebuilt(&dir, &new) {
        assert_eq!(after, before, "cut records are in the log again, before what took their place");
    }
}

/// The same over segments: those that were cut away whole are spare files.
#[test]
fn p2_segments_that_were_cut_away_are_not_rebuilt() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let log = options().open(&dir).unwrap();
    let mut lsns = Vec::new();
    for i in 0..3u8 {
        lsns.push(log.append_durable(&[i; 100]).unwrap());
        log.roll().unwrap();
    }
    log.truncate_after(lsns[0]).unwrap();
    log.append_durable(b"another").unwrap();
    let before = payloads(&log);
    log.close().unwrap();
    if let Some(after) = rebuilt(&dir, &new) {
        assert_eq!(after, before);
    }
}

#[test]
fn p2_what_was_before_a_reset_is_not_rebuilt() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let log = options().open(&dir).unwrap();
    for i in 0..3u8 {
        log.append_durable(&[i; 100]).unwrap();
    }
    log.reset_to(Lsn::new(1 << 30)).unwrap();
    log.append_durable(b"of the snapshot").unwrap();
    let before = payloads(&log);
    log.close().unwrap();
    if let Some(after) = rebuilt(&dir, &new) {
        assert_eq!(after, before);
    }
}

/// The last page of a segment in the midst of the log is lost with the manifest: its end frame too.
#[test]
fn p5_a_damaged_end_of_a_segment_in_the_midst_is_no_end_of_it() {
    for byte in [0xEE, 0] {
        let temp = tempfile::tempdir().unwrap();
        let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
        let log = options().open(&dir).unwrap();
        for _ in 0..3 {
            for i in 0..40u8 {
                log.append_durable(&[i; 1000]).unwrap();
            }
            log.roll().unwrap();
        }
        let before = payloads(&log);
        log.close().unwrap();
        let end = Inspector::open(&dir).unwrap().summary().segments[0].end.unwrap().get();
        write_at(&dir, 1, end - 3000, &[byte; 4096]);
        // Everything was durable, and the watermark, far above, is there.
        lose_the_manifest(&dir);
        let mut salvage = Salvage::open(&dir).unwrap();
        // That of the manifest is told of too.
        let gaps = salvage.by_ref().filter(|found| matches!(found, Found::Gap(_))).count() - 1;
        assert!(gaps > 0, "byte {byte:#x}");
        let rebuilt = Salvage::rebuild(&dir, &new).unwrap();
        let count = rebuilt.as_ref().map(|report| report.records);
        assert!(
            count.is_none() || count == Some(before.len() as u64),
            "byte {byte:#x}: rebuilt with {count:?} of {} records, {gaps} gaps told of, {rebuilt:?}",
            before.len()
        );
    }
}

/// As it is in ordinary use: checkpoints, and spare files of them.
#[test]
fn a_log_with_spare_files_is_rebuilt_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let log = options().open(&dir).unwrap();
    let mut lsns = Vec::new();
    for i in 0..12u8 {
        lsns.push(log.append_durable(&[i; 100]).unwrap());
        log.roll().unwrap();
        // The worker makes what is ready out of spare files.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    log.checkpoint(lsns[8]).unwrap();
    let before = payloads(&log);
    log.close().unwrap();
    let after = rebuilt(&dir, &new).expect("only the manifest is lost");
    assert_eq!(after[after.len() - before.len()..], before);
}

/// The log's positions near their end.
#[test]
fn a_rebuilt_log_can_be_opened_wherever_it_stood() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let log = options().open(&dir).unwrap();
    log.reset_to(Lsn::new((1 << 63) - (1 << 39))).unwrap();
    log.append_durable(b"one").unwrap();
    log.close().unwrap();
    lose_the_manifest(&dir);
    std::fs::remove_file(dir.join("0000000000000001.seg")).ok();
    if Salvage::rebuild(&dir, &new).unwrap().is_some() {
        options().open(&new).unwrap();
    }
}

/// The worst of it: all that was in a segment in the midst is gone but its header.
#[test]
fn p5_a_segment_in_the_midst_that_is_wiped_is_missed() {
    for byte in [0xEE, 0] {
        let temp = tempfile::tempdir().unwrap();
        let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
        let log = options().open(&dir).unwrap();
        for _ in 0..3 {
            for i in 0..40u8 {
                log.append_durable(&[i; 1000]).unwrap();
            }
            log.roll().unwrap();
        }
        log.append_durable(b"last").unwrap();
        log.close().unwrap();
        write_at(&dir, 2, 4096, &vec![byte; 60 << 10]);
        lose_the_manifest(&dir);
        let mut salvage = Salvage::open(&dir).unwrap();
        // That of the manifest is told of too.
        let gaps = salvage.by_ref().filter(|found| matches!(found, Found::Gap(_))).count() - 1;
        let rebuilt = Salvage::rebuild(&dir, &new).unwrap();
        assert!(rebuilt.is_none() && gaps > 0, "byte {byte:#x}: {gaps} gaps told of, {rebuilt:?}");
    }
}
