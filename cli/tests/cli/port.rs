//! `import` and `export`: what goes in comes out.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::{TestLog, interrupt, text};

fn file(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn lines_of_files_go_in_and_out() {
    let (log, dir) = (TestLog::new(), tempfile::tempdir().unwrap());
    let (one, two) = (file(&dir, "one", b"a\n\nb"), file(&dir, "two", b"c\n"));
    log.ok("import", &[&one, &two], "");
    assert_eq!(log.replay(), b"a\n\nb\nc\n");
    let out = dir.path().join("out").to_str().unwrap().to_owned();
    log.ok("export", &[&out], "");
    assert_eq!(std::fs::read(&out).unwrap(), b"a\n\nb\nc\n");
    // It replaces none.
    assert!(log.fails(1, "export", &[&out]).contains("exists already"));
    log.ok("import", &["-"], "d\n");
    assert_eq!(log.ok("export", &[], ""), b"a\n\nb\nc\nd\n");
}

#[test]
fn any_bytes_go_in_and_out_behind_their_lengths() {
    let (log, dir) = (TestLog::new(), tempfile::tempdir().unwrap());
    let all: Vec<u8> = (0..=255).collect();
    let records = [&b"a\nb"[..], b"", &all];
    let bytes: Vec<u8> = records
        .iter()
        .flat_map(|r| [&u32::try_from(r.len()).unwrap().to_le_bytes()[..], r].concat())
        .collect();
    let binary = ["--format", "length-prefixed"];
    log.ok("import", &[&binary[..], &[&file(&dir, "in", &bytes)]].concat(), "");
    assert_eq!(log.ok("export", &binary, ""), bytes);
    // No line can hold the first of them.
    let errors = log.fails(1, "export", &[]);
    assert!(errors.contains("LSN 4096") && errors.contains("length-prefixed"), "{errors}");
}

#[test]
fn an_import_that_fails_says_how_far_it_came() {
    let (log, dir) = (TestLog::new(), tempfile::tempdir().unwrap());
    let cut = file(&dir, "cut", b"\x01\0\0\0a\x01\0\0\0b\x09\0\0\0c");
    let errors = log.fails(1, "import", &["--format", "length-prefixed", &cut]);
    assert!(errors.contains("cut, record 3: "), "{errors}");
    assert_eq!(log.replay(), b"a\nb\n");
}

#[test]
fn an_import_that_is_interrupted_says_how_far_it_came() {
    for (format, input) in
        [("lines", &b"a\nb\nc"[..]), ("length-prefixed", b"\x01\0\0\0a\x01\0\0\0b\x09")]
    {
        let log = TestLog::new();
        let mut child = log.command("import", &["--format", format]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        while text(log.run("dump", &[], "").stdout).matches("record").count() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let errors = text(output.stderr);
        assert!(errors.contains("standard input, record 3: interrupted"), "{errors}");
        assert!(log.inspect()["clean_end"].is_u64());
        assert_eq!(log.replay(), b"a\nb\n");
    }
}

#[test]
fn a_file_that_is_missing_is_told_of_before_anything_is_imported() {
    let (log, dir) = (TestLog::new(), tempfile::tempdir().unwrap());
    let there = file(&dir, "there", b"a\n");
    let errors = log.fails(1, "import", &[&there, "missing-file"]);
    assert!(errors.contains("missing-file"), "{errors}");
    assert!(!log.path().exists());
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let (log, dir) = (TestLog::holding("a\nb\n"), tempfile::tempdir().unwrap());
    log.scribble(4096 + 8, b"X");
    let out: PathBuf = dir.path().join("out");
    log.fails(1, "export", &[out.to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_export_begins_where_it_is_told() {
    let log = TestLog::new();
    let lsns = log.append_lsns(&[], "one\ntwo\n");
    assert_eq!(text(log.ok("export", &["--from", &lsns[1].to_string()], "")), "two\n");
}

#[test]
fn what_export_wrote_import_takes_however_large() {
    let (log, other) = (TestLog::new(), TestLog::new());
    let large = vec![7; (16 << 20) + 1];
    let options = duralog::Options::new().segment_size(20 << 20).max_record_size(large.len());
    let engine = options.open(log.path()).unwrap();
    engine.append(&large).unwrap();
    engine.close().unwrap();
    let binary = ["--format", "length-prefixed"];
    let bytes = log.ok("export", &binary, "");
    other.ok("import", &binary, &bytes);
    assert!(other.ok("export", &binary, "") == bytes);
    // Where no segment could hold it, the message says what to do.
    let small = TestLog::new();
    let output = small.run("import", &[&binary[..], &["--segment-size", "64KiB"]].concat(), &bytes);
    let errors = text(output.stderr);
    assert!(
        errors.contains("standard input, record 1: its length field says 16777217"),
        "{errors}"
    );
    assert!(errors.contains("--segment-size makes larger"), "{errors}");
}
