//! Real logs through `append` and back.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::path::Path;

use common::TestLog;

const FLAGS: [&[&str]; 4] = [
    &["--sync", "each", "--segment-size", "65536"],
    &["--sync", "end", "--segment-size", "65536"],
    &["--sync", "each"],
    &["--sync", "end"],
];

#[test]
fn p1_p5_every_line_of_real_logs_comes_back_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/loghub");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: there is no {}", folder.display());
        return;
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let file = std::fs::read(&path).unwrap();
        let mut expected = file.clone();
        if !expected.ends_with(b"\n") {
            expected.push(b'\n');
        }
        let lines = expected.iter().filter(|byte| **byte == b'\n').count();
        for flags in FLAGS {
            let log = TestLog::new();
            let lsns = log.append_lsns(flags, &file);
            assert_eq!(lsns.len(), lines, "{} {flags:?}", path.display());
            let replayed = log.replay();
            let differs = replayed.split(|b| *b == b'\n').zip(expected.split(|b| *b == b'\n'));
            let differs = differs.into_iter().position(|(out, put)| out != put);
            assert_eq!(differs, None, "first line that differs: {} {flags:?}", path.display());
            assert!(replayed == expected, "{} {flags:?}", path.display());
        }
        println!("{}: {lines} lines, {} bytes", path.display(), file.len());
    }
}
