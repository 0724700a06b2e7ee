//! `verify --deep` and `repair`.

use std::collections::BTreeMap;
use std::path::Path;

use duralog::{Log, Lsn, Options};
use serde_json::Value;

use crate::common::{TestLog, text};

fn filled() -> (TestLog, Vec<u64>) {
    let log = TestLog::new();
    let lines: String = (0..1000).map(|i| format!("{i:050}\n")).collect();
    let lsns = log.append_lsns(&["--segment-size", "16KiB"], lines);
    (log, lsns)
}

fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

fn hurt(log: &TestLog, lsn: u64) {
    log.scribble(lsn + 20, &[0xFF]);
}

#[test]
fn p5_all_damage_is_listed() {
    let (log, lsns) = filled();
    assert!(text(log.ok("verify", &["--deep"], "")).starts_with("sound: 1000 records"));
    for index in [3, 500, 501, 800] {
        hurt(&log, lsns[index]);
    }
    let errors = log.fails(1, "verify", &["--deep", "--threads", "3"]);
    assert!(errors.contains("damaged in 3 places"), "{errors}");
    assert!(errors.contains(&format!("LSN {} to {}", lsns[500], lsns[502])), "{errors}");
    let output = log.run("verify", &["--deep", "--json"], "");
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["sound"], &found["records"]), (&false.into(), &996.into()));
    // How it ends is not known.
    assert!(found["tail"].is_null() && found["end"].is_null());
    assert_eq!(found["damage"][0]["lsns"][0], lsns[3]);
    let output = log.run("verify", &["--json"], "");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["sound"], &found["damage"][0]["lsns"][0]), (&false.into(), &lsns[3].into()));
}

#[test]
fn p5_what_is_sound_is_in_the_new_log_and_the_damaged_one_is_as_it_was() {
    let (log, lsns) = filled();
    hurt(&log, lsns[500]);
    let (before, dir) = (bytes_of(&log.path()), tempfile::tempdir().unwrap());
    let (new, map) = (dir.path().join("new"), dir.path().join("map"));
    let flags = ["--into", new.to_str().unwrap(), "--lsn-map", map.to_str().unwrap()];
    let dry = text(log.ok("repair", &["--dry-run"], ""));
    assert!(dry.starts_with("would be copied: 999 records") && !new.exists(), "{dry}");
    let output = log.run("repair", &flags, "");
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&format!("LSN {} to {}, committed", lsns[500], lsns[501])), "{errors}");
    assert!(bytes_of(&log.path()) == before, "the damaged log was changed");

    let repaired = Log::open(&new).unwrap();
    let map = std::fs::read_to_string(&map).unwrap();
    let mut moved = map.lines().map(|line| {
        let (old, new) = line.split_once('\t').unwrap();
        (old.parse().unwrap(), Lsn::new(new.parse().unwrap()))
    });
    let expected = (0..1000).filter(|i| *i != 500);
    for (record, i) in repaired.replay().zip(expected) {
        let record = record.unwrap();
        assert_eq!(record.payload(), format!("{i:050}").as_bytes());
        assert_eq!(moved.next(), Some((lsns[i], record.lsn())));
        // No position of the old log names another record here.
        assert!(record.lsn().get() > lsns[999] && repaired.read(Lsn::new(lsns[i])).is_err());
    }
    assert_eq!((repaired.replay().count(), moved.next()), (999, None));
    repaired.close().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "something was left behind");
    assert!(log.fails(1, "repair", &flags).contains("exists already"));
}

#[test]
fn p5_a_lost_manifest_is_made_anew_and_each_lsn_is_as_it_was() {
    let (log, lsns) = filled();
    let engine = Log::open(log.path()).unwrap();
    engine.consumer("mailer").unwrap().ack(Lsn::new(lsns[700])).unwrap();
    let last = engine.append_durable(b"last").unwrap();
    engine.close().unwrap();
    std::fs::remove_file(log.path().join("MANIFEST")).unwrap();
    assert!(log.fails(1, "verify", &[]).contains("MANIFEST"));
    let (before, dir) = (bytes_of(&log.path()), tempfile::tempdir().unwrap());
    let (new, map) = (dir.path().join("new"), dir.path().join("map"));
    let flags = ["--into", new.to_str().unwrap(), "--json", "--lsn-map", map.to_str().unwrap()];
    let report: Value = serde_json::from_slice(&log.ok("repair", &flags, "")).unwrap();
    assert_eq!((&report["by_manifest"], &report["records"]), (&false.into(), &1001.into()));
    assert_eq!(report["lsns_as_they_were"], true);
    assert!(bytes_of(&log.path()) == before, "the damaged log was changed");

    let repaired = Log::open(&new).unwrap();
    let found: Vec<u64> = repaired.replay().map(|record| record.unwrap().lsn().get()).collect();
    assert_eq!(found, [&lsns[..], &[last.get()]].concat());
    let map = std::fs::read_to_string(&map).unwrap();
    assert!(map.lines().zip(found).all(|(line, lsn)| line == format!("{lsn}\t{lsn}")));
    assert!(
        repaired.append(b"more").unwrap().get() > last.get() + (1 << 39),
        "it may have been used"
    );
    let mailer = repaired.consumer("mailer").unwrap().position().unwrap();
    let next = repaired.replay_from(mailer).unwrap().next().unwrap().unwrap();
    assert_eq!(next.lsn().get(), lsns[701]);
}

#[test]
fn p5_where_more_than_the_manifest_is_lost_what_is_left_is_copied() {
    let (log, lsns) = filled();
    std::fs::remove_file(log.path().join("0000000000000002.seg")).unwrap();
    hurt(&log, lsns[900]);
    std::fs::write(log.path().join("MANIFEST"), "no manifest at all").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    let report = log.ok("repair", &["--into", new.to_str().unwrap(), "--json"], "");
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["lsns_as_they_were"], false);
    let expected = lsns.iter().filter(|lsn| **lsn / (16 << 10) != 1 && **lsn != lsns[900]).count();
    assert_eq!(Log::open(&new).unwrap().replay().count(), expected);
}

#[test]
fn p5_consumers_go_on_with_the_first_record_that_they_had_not_done() {
    let log = TestLog::new();
    let engine = Options::new().segment_size(64 << 10).open(log.path()).unwrap();
    let mut lsns = Vec::new();
    for i in 0..200 {
        lsns.push(engine.append_durable(&[i; 1000]).unwrap());
    }
    for (name, done) in [("early", 10), ("late", 150), ("all", 199)] {
        engine.consumer(name).unwrap().ack(lsns[done]).unwrap();
    }
    engine.consumer("new").unwrap();
    engine.set_metadata(b"term 7").unwrap();
    engine.close().unwrap();
    // The next one for "early", and others.
    for index in [11, 12, 60] {
        log.scribble(lsns[index].get() + 20, &[0xFF]);
    }
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    log.ok("repair", &["--into", new.to_str().unwrap()], "");
    let repaired = Log::open(&new).unwrap();
    assert_eq!(repaired.metadata().unwrap(), b"term 7");
    for (name, next) in [("early", Some(13)), ("late", Some(151)), ("all", None), ("new", Some(0))]
    {
        let position = repaired.consumer(name).unwrap().position().unwrap();
        let record =
            repaired.replay_from(position).unwrap().next().map(|r| r.unwrap().payload()[0]);
        assert_eq!(record, next, "{name}");
    }
}

#[test]
fn p5_a_record_that_fills_its_segment_is_repaired() {
    let log = TestLog::new();
    let largest = vec![b'x'; Options::new().segment_size(16 << 10).largest_record()];
    let lines = [&b"first\n"[..], &largest, b"\nlast\n"].concat();
    let lsns = log.append_lsns(&["--segment-size", "16KiB"], &lines);
    log.scribble(lsns[0] + 8, b"X");
    let into = log.path().with_extension("new");
    log.ok("repair", &["--into", into.to_str().unwrap()], "");
    let repaired = Log::open(&into).unwrap();
    let records: Vec<_> = repaired.replay().map(|r| r.unwrap().payload().to_vec()).collect();
    let lens: Vec<_> = records.iter().map(Vec::len).collect();
    assert!(records == [&largest[..], b"last"], "{lens:?}");
    // One byte more never went in.
    let output = log.run("append", &[], [&largest[..], b"x"].concat());
    let errors = text(output.stderr);
    assert!(!output.status.success() && errors.contains("--segment-size makes larger"), "{errors}");
    // As it says.
    log.ok("append", &["--segment-size", "64KiB"], [&largest[..], b"x"].concat());
}

/// What someone else may read is not lost.
#[test]
fn p5_who_may_not_read_a_segment_is_told_so_and_copies_nothing() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let (log, _) = filled();
    let outer = log.path().parent().unwrap().to_owned();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        chown(path, Some(NOBODY), Some(NOBODY)).is_ok()
    };
    let files = bytes_of(&log.path());
    let paths = files.keys().map(|name| log.path().join(name));
    if !paths.chain([log.path(), outer.clone()]).all(|path| set(&path, 0o755)) {
        return eprintln!("skipped: it takes root to be another user");
    }
    set(&log.path().join("0000000000000002.seg"), 0);
    let program = outer.join("duralog");
    std::fs::copy(env!("CARGO_BIN_EXE_duralog"), &program).unwrap();
    let into = outer.join("new");
    let mut command = std::process::Command::new(program);
    command.arg("repair").arg(log.path()).arg("--into").arg(&into).uid(NOBODY).gid(NOBODY);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: it cannot be run as another user: {error}"),
    };
    let errors = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("0000000000000002.seg") && errors.contains("ermission denied"));
    assert!(!into.exists());
}

#[test]
fn it_is_told_which_lsns_are_new_and_when_there_was_no_need() {
    let (log, lsns) = filled();
    let into = log.path().with_extension("new");
    let output = log.run("repair", &["--into", into.to_str().unwrap()], "");
    let first = Log::open(&into).unwrap().head().get();
    assert_ne!(first, lsns[0]);
    let words = text(output.stdout);
    assert!(words.contains(&format!("their LSNs are new: {first} to ")), "{words}");
    assert!(text(output.stderr).contains("this log needs no repair"));
}

#[test]
fn a_repair_that_cannot_be_leaves_nothing() {
    let (log, dir) = (TestLog::new(), tempfile::tempdir().unwrap());
    let new = dir.path().join("new");
    log.fails(1, "repair", &["--into", new.to_str().unwrap()]);
    log.fails(2, "repair", &[]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
