//! What is told of a log: `ls`, the map, `dump`, `stat`, `consumers`.

use duralog::{Log, Options};
use serde_json::Value;

use crate::common::{Appender, TestLog, text};

/// Records in three segments and a half.
fn filled() -> TestLog {
    let log = TestLog::new();
    let lines: String = (0..420).map(|i| format!("{i:0100}\n")).collect();
    log.ok("append", &["--segment-size", "16KiB"], lines);
    log
}

fn json_lines(bytes: Vec<u8>) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_file_is_listed_with_what_it_is_for() {
    let log = filled();
    std::fs::write(log.path().join("notes.txt"), "mine").unwrap();
    let listed = text(log.ok("ls", &[], ""));
    let line = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(
        line("0000000000000001.seg").contains("16.00 KiB")
            && line("0000000000000001").ends_with("sealed")
    );
    assert!(line("MANIFEST").ends_with("names the files"));
    assert!(line("notes.txt").ends_with("not of the log"));
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    std::fs::remove_file(log.path().join("0000000000000002.seg")).unwrap();
    let listed: Value = serde_json::from_slice(&log.ok("ls", &["--json"], "")).unwrap();
    let missing = listed.as_array().unwrap().iter().find(|file| file["what"] == "missing");
    assert_eq!(missing.unwrap()["file"], "0000000000000002.seg");
    let shown = log.inspect();
    let hurt = shown["segments"].as_array().unwrap().iter().find(|s| !s["damaged"].is_null());
    assert_eq!(hurt.unwrap()["file"], "0000000000000002.seg");
}

#[test]
fn the_map_shows_what_is_used_free_marked_torn_and_damaged() {
    let log = filled();
    let map = |flags: &[&str]| {
        let shown = text(log.ok("inspect", flags, ""));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        shown.split_once("\nmap\n").unwrap().1.to_owned()
    };
    let quiet = map(&[]);
    assert!(quiet.contains('█') && quiet.contains('▓') && quiet.contains('·'), "{quiet}");
    assert!(!quiet.contains('!') && !quiet.contains('~'), "{quiet}");
    log.scribble((16 << 10) + 9000, &[0xFF; 8]);
    assert!(!map(&[]).contains('!'), "sealed segments are read only if asked");
    let deep = map(&["--deep"]);
    assert_eq!(
        deep.lines().find(|line| line.contains('!')).unwrap().split(' ').next(),
        Some("0000000000000002.seg")
    );

    // A writer that was killed, and something behind its end.
    let torn = TestLog::new();
    let mut appender = Appender::start(&torn, &["--segment-size", "16KiB", "--sync", "each"]);
    let mut end = 0;
    for _ in 0..20 {
        appender.feed(&format!("{:0100}\n", 0));
        end = appender.next_lsn() + 112;
    }
    appender.kill();
    torn.scribble(end, &[7; 16]);
    let shown = text(torn.ok("inspect", &[], ""));
    assert!(shown.contains('~') && shown.contains('▒'), "{shown}");
    let shown: Value = serde_json::from_slice(&torn.ok("inspect", &["--json"], "")).unwrap();
    let first = &shown["segments"][0];
    assert_eq!((&first["records"], &first["marks"]), (&20.into(), &19.into()));
    assert_eq!(first["torn"], 16);
}

#[test]
fn of_very_many_segments_each_that_is_sealed_has_a_letter_and_a_square() {
    let log = TestLog::new();
    let lines: String = (0..14_000).map(|i| format!("{i:0100}\n")).collect();
    log.ok("append", &["--segment-size", "16KiB"], lines);
    log.scribble((64 << 14) + 9000, &[0xFF; 8]);
    let svg = log.path().with_extension("svg");
    let shown = text(log.ok("inspect", &["--deep", "--svg", svg.to_str().unwrap()], ""));
    let map = shown.split_once("\nmap\n").unwrap().1;
    assert!(map.lines().count() < 12 && map.contains(" sealed segments, a letter each"), "{map}");
    assert!(map.lines().all(|line| line.chars().count() <= 80), "{map}");
    // Where it is among the others, and where in it.
    let hurt: Vec<_> = map.lines().filter(|line| line.contains('!')).collect();
    let [overview, bar, _legend] = hurt[..] else { panic!("{map}") };
    assert!(overview.starts_with("0000000000000035.seg on "), "{map}");
    assert!(bar.starts_with("0000000000000041.seg sealed "), "{map}");
    let svg = std::fs::read_to_string(svg).unwrap();
    let (_, height) = svg.split_once(" height=\"").unwrap();
    let height: f64 = height.split('"').next().unwrap().parse().unwrap();
    assert!(height < 400.0 && svg.contains("sealed segments, a square each"), "{height}");
    assert!(svg.contains("0000000000000002.seg: LSN 16384 to "));
}

#[test]
fn the_map_is_drawn_into_a_file() {
    let log = filled();
    log.scribble((16 << 10) + 9000, &[0xFF; 8]);
    let svg = log.path().with_extension("svg");
    log.ok("inspect", &["--deep", "--svg", svg.to_str().unwrap()], "");
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
    assert!(drawn.contains("Damaged: offsets") && drawn.contains("0000000000000003.seg"));
}

#[test]
fn no_map_takes_the_place_of_anything_but_a_map() {
    let log = filled();
    let segment = log.path().join("0000000000000001.seg");
    let before = std::fs::read(&segment).unwrap();
    let outside = log.path().with_extension("notes");
    std::fs::write(&outside, "mine").unwrap();
    for (path, why) in [
        (segment.clone(), "in the directory of a log"),
        (log.path().join("map.svg"), "in the directory of a log"),
        (outside.clone(), "is no picture"),
    ] {
        let errors = log.fails(1, "inspect", &["--svg", path.to_str().unwrap()]);
        assert!(errors.contains(why), "{errors}");
    }
    let errors = log.fails(1, "export", &[log.path().join("ff.seg").to_str().unwrap()]);
    assert!(errors.contains("in the directory of a log"), "{errors}");
    assert_eq!(std::fs::read(segment).unwrap(), before);
    assert_eq!(std::fs::read(outside).unwrap(), b"mine");
    let map = log.path().with_extension("svg");
    for _ in 0..2 {
        log.ok("inspect", &["--svg", map.to_str().unwrap()], "");
    }
}

/// By the manifest alone it would look sound.
#[test]
fn p5_damage_in_the_active_segment_is_shown_and_what_was_not_read_is_not_called_sound() {
    let log = filled();
    let (last, _) = log.place_of(log.append_lsns(&[], "one\ntwo\n")[0]);
    let lsns = log.append_lsns(&[], "three\nfour\n");
    log.scribble(lsns[0] + 8, &[0xFF]);
    assert!(text(log.ok("inspect", &[], "")).contains('!'));
    let shown = log.inspect();
    let segments = shown["segments"].as_array().unwrap();
    let state = |name: &str| segments.iter().find(|s| s["state"] == name).unwrap();
    assert!(state("sealed")["damaged"].is_null() && state("sealed")["torn"].is_null());
    assert!(state("active")["damaged"].as_u64().unwrap() > 0, "{last:?}");
}

#[test]
fn who_has_the_log_open_is_told() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &[]);
    appender.feed("one\n");
    appender.next_lsn();
    assert_eq!(log.inspect()["writer"], appender.id());
    assert!(
        text(log.ok("inspect", &[], "")).contains(&format!("open in process {}", appender.id()))
    );
    appender.kill();
    assert!(log.inspect()["writer"].is_null());
}

#[test]
fn each_frame_is_dumped_with_what_it_is() {
    let log = TestLog::new();
    log.append_lsns(&["--sync", "each"], "one\n\x1b[2Jtwo\n");
    let lines = json_lines(log.ok("dump", &["--segment", "1", "--json"], ""));
    let kinds: Vec<_> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["record", "mark", "record"]);
    assert_eq!((&lines[0]["piece"], &lines[0]["id"]), (&"segment".into(), &1.into()));
    assert_eq!((&lines[1]["offset"], &lines[1]["payload"]), (&4096.into(), &"6f6e65".into()));
    assert_eq!(lines[2]["durable"], 4112);
    assert_eq!(lines.last().unwrap()["piece"], "free");
    let shown = text(log.ok("dump", &["--segment", "0000000000000001.seg"], ""));
    assert!(shown.contains(r"\u{1b}[2Jtwo") && !shown.contains('\x1b'), "{shown}");
    assert_eq!(text(log.ok("dump", &["-n", "1"], "")).matches("record").count(), 1);
    assert!(text(log.ok("dump", &["--from", "4113"], "")).contains("mark"));
    assert!(log.fails(1, "dump", &["--segment", "77"]).contains("no segment 77"));
}

#[test]
fn a_dump_needs_no_manifest_and_goes_around_damage() {
    let log = TestLog::holding("one\ntwo\nthree\n");
    log.scribble(4096 + 16 + 8, b"X");
    std::fs::remove_file(log.path().join("MANIFEST")).unwrap();
    let lines = json_lines(log.ok("dump", &["--segment", "1", "--json"], ""));
    let pieces: Vec<_> = lines.iter().map(|line| line["piece"].as_str().unwrap()).collect();
    assert_eq!(pieces, ["segment", "frame", "damaged", "frame", "free"]);
}

#[test]
fn what_the_writer_does_is_counted() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &["--sync", "each"]);
    appender.feed("one\n");
    appender.next_lsn();
    let command = log.command("stat", &["--count", "1", "--interval", "2", "--json"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(700));
    for _ in 0..5 {
        appender.feed("four\n");
        appender.next_lsn();
    }
    let output = command.unwrap().wait_with_output().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = |key: &str| line[key].as_f64().unwrap() * line["seconds"].as_f64().unwrap();
    assert_eq!(rate("syncs_per_second").round(), 5.0, "{line}");
    assert_eq!(rate("payload_bytes_per_second").round(), 20.0, "{line}");
    assert_eq!((&line["writer"], &line["records_per_sync"]), (&appender.id().into(), &1.0.into()));
    assert!(line["sync_p50_us"].as_u64() <= line["sync_max_us"].as_u64());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("open in process"), "{errors}");
    appender.kill();
    let still = text(log.ok("stat", &["--count", "1", "--interval", "0.05"], ""));
    assert_eq!(still.lines().nth(1).unwrap().split_whitespace().next(), Some("0"));
}

#[test]
fn consumers_are_shown_and_can_be_forgotten() {
    let log = TestLog::new();
    let engine = Options::new().segment_size(16 << 10).open(log.path()).unwrap();
    let first = engine.append_durable(&[7; 5000]).unwrap();
    engine.consumer("slow \x1b[31m").unwrap();
    engine.consumer("quick").unwrap();
    engine.roll().unwrap();
    let last = engine.append_durable(&[8; 5000]).unwrap();
    engine.consumer("quick").unwrap().ack(last).unwrap();
    engine.checkpoint(first).unwrap();
    let shown = text(log.ok("consumers", &[], ""));
    assert!(!shown.contains('\x1b') && shown.contains("slow"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let held = shown.split_once("the oldest segment is held by").unwrap().1;
    assert!(held.contains("slow") && held.contains("(checkpoint)") && !held.contains("quick"));
    let shown: Value = serde_json::from_slice(&log.ok("consumers", &["--json"], "")).unwrap();
    assert_eq!(shown["consumers"][0]["name"], "quick");
    assert_eq!(shown["consumers"][0]["segments"], 0);
    assert!(log.fails(1, "consumers", &["--remove", "quick"]).contains("open"));
    engine.close().unwrap();
    log.ok("consumers", &["--remove", "slow \x1b[31m"], "");
    assert!(log.fails(1, "consumers", &["--remove", "slow"]).contains("no consumer"));
    assert_eq!(Log::open(log.path()).unwrap().consumers().unwrap().len(), 1);
    log.ok("checkpoint", &["--to-slowest"], "");
    assert!(log.inspect()["checkpoint"].as_u64().unwrap() > last.get());
}

#[test]
fn a_consumer_that_a_checkpoint_passed_is_marked() {
    let log = filled();
    let opened = Log::open(log.path()).unwrap();
    opened.consumer("slow").unwrap();
    opened.commit().unwrap();
    opened.checkpoint(opened.durable()).unwrap();
    opened.close().unwrap();
    assert!(text(log.ok("consumers", &[], "")).contains("a checkpoint passed it"));
    let shown: Value = serde_json::from_slice(&log.ok("consumers", &["--json"], "")).unwrap();
    assert_eq!(shown["consumers"][0]["passed"], true);
}
