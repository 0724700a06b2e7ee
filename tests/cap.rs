//! What a log that is full says: of what, and who holds it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use duralog::{Error, Holder, Limit, Log, Lsn, Options, WhenFull};

const SIZE: u64 = 16 << 10;

fn at_cap(log: &Log, keep: impl Fn(Lsn)) -> Error {
    for _ in 0..100 {
        match log.append(&[7; 5000]) {
            Ok(lsn) => keep(lsn),
            Err(error) => return error,
        }
    }
    panic!("it passed the cap");
}

#[test]
fn at_the_cap_the_reader_that_holds_the_oldest_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_size(SIZE).max_bytes(4 * SIZE, WhenFull::DropOldest);
    let log = options.open(dir.path()).unwrap();
    let records = std::cell::RefCell::new(Vec::new());
    let full = at_cap(&log, |lsn| records.borrow_mut().push(log.read(lsn).unwrap()));
    assert!(full.is_full() && !full.is_poisoned());
    let readers = || log.blockers().unwrap().into_iter().filter(|b| b.holder == Holder::Reader);
    let reader = readers().next().expect("the reader");
    assert!(reader.position <= records.borrow()[0].lsn() && reader.bytes >= SIZE, "{reader:?}");
    // Its position is that of the oldest that it holds.
    let last = records.borrow_mut().pop();
    records.borrow_mut().clear();
    assert_eq!(readers().next(), None);
    drop(last);
    log.append(&[7; 5000]).unwrap();
    assert!(log.head() > reader.position);
}

#[test]
fn a_log_at_its_cap_does_not_say_that_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_size(SIZE).max_bytes(3 * SIZE, WhenFull::Refuse);
    let log = options.open(dir.path()).unwrap();
    let full = at_cap(&log, |_| ());
    assert!(matches!(full, Error::Full { limit: Limit::MaxBytes, .. }), "{full:?}");
    let words = full.to_string();
    assert!(words.contains("max_bytes") && words.contains("49152"), "{words}");
    assert!(!words.contains("disk"), "{words}");
}

#[test]
fn a_log_whose_numbers_are_used_up_does_not_say_that_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(SIZE).open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    let last = (1 << 63) - (4 << 30) - 2 * SIZE;
    log.reset_to(Lsn::new(last)).unwrap();
    let full = at_cap(&log, |_| ());
    assert!(matches!(full, Error::Full { limit: Limit::Format, .. }), "{full:?}");
    assert!(!full.to_string().contains("disk"), "{full}");
    assert!(log.read(log.head()).is_ok());
}
