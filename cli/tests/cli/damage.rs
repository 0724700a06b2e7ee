//! Committed data that is damaged, and a torn tail, which is not.

use crate::common::{Appender, TestLog, text};

/// Three records, closed cleanly; the payload of the second is flipped. Its LSN.
fn damaged() -> (TestLog, u64) {
    let log = TestLog::new();
    let lsns = log.append_lsns(&[], "one\ntwo\nthree\n");
    log.scribble(lsns[1] + 8, b"T");
    (log, lsns[1])
}

#[test]
fn p5_verify_names_the_file_the_offset_and_the_lsn_of_damage() {
    let (log, lsn) = damaged();
    let (file, offset) = log.place_of(lsn);
    let errors = log.fails(1, "verify", &[]);
    let file = file.display();
    assert!(errors.contains(&format!("{file} is damaged at offset {offset}: ")), "{errors}");
    assert!(errors.contains(&format!("LSN {lsn}")), "{errors}");
}

#[test]
fn p5_replay_prints_what_is_sound_before_damage_then_the_error() {
    let (log, lsn) = damaged();
    let output = log.run("replay", &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"one\n");
    let errors = text(output.stderr);
    assert!(errors.contains("damaged") && errors.contains(&format!("LSN {lsn}")), "{errors}");
}

#[test]
fn p5_a_salvage_goes_around_damage_and_tells_what_is_missing() {
    let (log, lsn) = damaged();
    let (file, offset) = log.place_of(lsn);
    let output = log.run("replay", &["--salvage"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"one\nthree\n");
    let errors = text(output.stderr);
    let gap = format!("{}, offsets {offset} to {}", file.display(), offset + 16);
    assert!(errors.contains(&gap) && errors.contains("2 records"), "{errors}");
    assert!(errors.contains(&format!("LSN {lsn} to {}, committed", lsn + 16)), "{errors}");
    let output = log.run("replay", &["--salvage", "--with-lsn", "--from", &lsn.to_string()], "");
    assert_eq!(text(output.stdout), format!("{}\tthree\n", lsn + 16));
    // Of a sound log it is the replay.
    let log = TestLog::holding("one\ntwo\n");
    assert_eq!(log.ok("replay", &["--salvage"], ""), b"one\ntwo\n");
}

#[test]
fn a_salvage_needs_no_manifest() {
    let log = TestLog::holding("one\ntwo\n");
    std::fs::write(log.path().join("MANIFEST"), "").unwrap();
    let output = log.run("replay", &["--salvage"], "");
    assert_eq!((output.status.code(), output.stdout), (Some(1), b"one\ntwo\n".to_vec()));
    let errors = text(output.stderr);
    assert!(errors.contains("by the headers of the segments alone"), "{errors}");
}

#[test]
fn damage_to_the_manifest_refuses_every_command() {
    let log = TestLog::holding("one\n");
    let manifest = log.path().join("MANIFEST");
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&manifest, &bytes).unwrap();
    let all = [
        ("append", [].as_slice()),
        ("replay", &[]),
        ("verify", &[]),
        ("inspect", &[]),
        ("checkpoint", &["4096"]),
    ];
    for (name, flags) in all {
        let errors = log.fails(1, name, flags);
        assert!(errors.contains("MANIFEST is damaged"), "{name}: {errors}");
    }
    assert_eq!(std::fs::read(&manifest).unwrap(), bytes);
}

#[test]
fn a_segment_that_is_missing_is_damage() {
    let log = TestLog::holding("one\n");
    let (file, _) = log.place_of(4096);
    #[allow(clippy::disallowed_methods, reason = "what the test is about")]
    std::fs::remove_file(&file).unwrap();
    for name in ["append", "replay", "verify"] {
        let errors = log.fails(1, name, &[]);
        assert!(errors.contains(&file.display().to_string()), "{name}: {errors}");
    }
}

#[test]
fn a_segment_that_is_a_link_is_damage_and_its_target_is_left_alone() {
    let log = TestLog::holding("one\n");
    let (file, _) = log.place_of(4096);
    let target = log.path().with_file_name("elsewhere");
    #[allow(clippy::disallowed_methods, reason = "what the test is about")]
    std::fs::rename(&file, &target).unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    let before = std::fs::read(&target).unwrap();
    for (name, flags) in
        [("append", [].as_slice()), ("replay", &[]), ("verify", &[]), ("checkpoint", &["4096"])]
    {
        let errors = log.fails(1, name, flags);
        assert!(errors.contains("no regular file"), "{name}: {errors}");
    }
    assert!(std::fs::read(&target).unwrap() == before);
}

/// Two records acknowledged, the process killed, and behind them a part of a third.
fn torn() -> (TestLog, u64) {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &["--segment-size", "16384"]);
    appender.feed("one\ntwo\n");
    appender.next_lsn();
    let end = appender.next_lsn() + 16;
    appender.kill();
    log.scribble(end, &[0xA5; 20]);
    (log, end)
}

#[test]
fn p2_a_torn_tail_alone_is_sound_and_said() {
    let (log, end) = torn();
    let found = text(log.ok("verify", &[], ""));
    assert!(found.starts_with("sound: 2 records, 6 bytes"), "{found}");
    assert!(
        found.contains(&format!("torn tail, never acknowledged, begins at LSN {end}")),
        "{found}"
    );
    let output = log.run("replay", &[], "");
    assert!(output.status.success() && output.stdout == b"one\ntwo\n");
    assert!(text(output.stderr).contains(&format!("left out at LSN {end}")));
}

#[test]
fn p2_append_cuts_a_torn_tail_says_so_and_goes_on() {
    let (log, end) = torn();
    let output = log.run("append", &[], "three\n");
    assert!(output.status.success());
    let said = text(output.stderr);
    assert!(
        said.contains(&format!("torn tail, never acknowledged, was cut at LSN {end}")),
        "{said}"
    );
    assert_eq!(log.replay(), b"one\ntwo\nthree\n");
    assert!(text(log.ok("verify", &[], "")).contains("closed cleanly"));
}

/// As when half of a backup is put back: every command that goes by the manifest refuses, none ends early with a 0.
#[test]
fn p5_an_old_manifest_is_an_error_in_each_command() {
    let size = ["--segment-size", "16KiB"];
    let log = TestLog::new();
    log.ok("append", &size, "one\n");
    let (segment, manifest) =
        (log.path().join("0000000000000001.seg"), log.path().join("MANIFEST"));
    let old = [&segment, &manifest].map(|path| std::fs::read(path).unwrap());
    log.ok("append", &size, format!("{}\n", "x".repeat(9000)).repeat(5));
    std::fs::write(segment, &old[0]).unwrap();
    std::fs::write(manifest, &old[1]).unwrap();
    // Not on every file system is there one.
    drop(std::fs::remove_file(log.path().join("WATERMARK")));
    let out = log.path().with_extension("out");
    for (command, args) in [
        ("replay", &[][..]),
        ("tail", &[]),
        ("consumers", &[]),
        ("inspect", &[]),
        ("verify", &[]),
        ("export", &[out.to_str().unwrap()]),
        ("append", &[]),
    ] {
        let errors = log.fails(1, command, args);
        assert!(errors.contains("MANIFEST is damaged"), "{command}: {errors}");
    }
}
