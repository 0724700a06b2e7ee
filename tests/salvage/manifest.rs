//! Without a manifest, with one that is too old, with files that are missing.

use std::collections::BTreeMap;

use duralog::inspect::Inspector;

use crate::frames::frames;
use crate::{check, closed, damage, fill, open, options, payload, read_dir, salvage, write_dir};

#[test]
fn p5_files_that_are_missing_or_swapped_are_gaps() {
    let sound = closed();
    let frames = frames(&sound);
    let names: Vec<&String> = sound.keys().filter(|name| name.ends_with(".seg")).collect();
    for name in &names {
        let mut hurt = sound.clone();
        hurt.remove(*name);
        let seen = check(&frames, &sound, &hurt, true, &format!("{name} is missing"));
        assert!(seen.gaps.iter().any(|gap| gap.path.ends_with(name)), "{seen:?}");
        // Under another name it is found.
        hurt.insert("00000000000000ff.seg".to_owned(), sound[*name].clone());
        let dir = write_dir(&hurt);
        let seen = salvage(dir.path());
        assert_eq!(seen.records.len(), frames.iter().filter(|f| f.is_record()).count(), "{name}");
        assert!(seen.missing().is_empty());
    }
    let mut hurt = sound.clone();
    hurt.insert(names[0].clone(), sound[names[1]].clone());
    hurt.insert(names[1].clone(), sound[names[0]].clone());
    let seen = salvage(write_dir(&hurt).path());
    assert_eq!(seen.records.len(), frames.iter().filter(|f| f.is_record()).count());
    assert!(seen.gaps.len() >= 2 && seen.missing().is_empty(), "{seen:?}");
}

#[test]
fn p5_without_a_manifest_the_headers_say_what_is_there() {
    for (sound, closed) in [(closed(), true), (open(), false)] {
        let frames = frames(&sound);
        let records: BTreeMap<u64, Vec<u8>> = frames
            .iter()
            .filter(|frame| frame.is_record())
            .map(|frame| (frame.lsn, frame.payload.clone()))
            .collect();
        let lost: [(&str, Option<Vec<u8>>); 4] = [
            ("missing", None),
            ("noise", Some(payload(7, 300))),
            ("empty", Some(Vec::new())),
            ("zeros", Some(vec![0; sound["MANIFEST"].len()])),
        ];
        for (what, manifest) in lost {
            let mut hurt = sound.clone();
            hurt.remove("MANIFEST");
            hurt.extend(manifest.map(|bytes| ("MANIFEST".to_owned(), bytes)));
            let dir = write_dir(&hurt);
            assert!(Inspector::open(dir.path()).unwrap_err().is_corrupt(), "{what}");
            let seen = salvage(dir.path());
            assert!(seen.records == records && seen.doubtful.is_empty(), "{what}");
            assert!(!seen.report().by_manifest && seen.missing().is_empty(), "{what}: {seen:?}");
            assert!(seen.gaps[0].path.ends_with("MANIFEST"), "{what}");
        }
        // And damaged besides: then what an end or a mark vouches for is told apart.
        for seed in 0..150 {
            let (mut hurt, mut draw, mut what) = (sound.clone(), seed, format!("{closed}: "));
            hurt.remove("MANIFEST");
            for _ in 0..1 + seed % 3 {
                what += &damage(&mut hurt, &mut draw);
            }
            let seen = salvage(write_dir(&hurt).path());
            let given = seen.doubtful.iter().map(|(lsn, (payload, _))| (lsn, payload));
            for (lsn, payload) in seen.records.iter().chain(given) {
                assert!(records.get(lsn) == Some(payload), "{what}: {lsn} was not appended");
            }
            let headers = |name: &String, bytes: &Vec<u8>| {
                !name.ends_with(".seg") || bytes.get(..76) == sound[name].get(..76)
            };
            for frame in frames.iter().filter(|frame| frame.is_record()) {
                let bytes = &hurt[&frame.file];
                let same = bytes.get(frame.bytes.clone())
                    == Some(&sound[&frame.file][frame.bytes.clone()]);
                let lsn = frame.lsn;
                let found = seen.records.contains_key(&lsn) || seen.doubtful.contains_key(&lsn);
                assert!(!same || found || !headers(&frame.file, bytes), "{what}: {lsn}");
            }
        }
    }
}

#[test]
fn an_old_manifest_is_not_gone_by() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    log.close().unwrap();
    let old = std::fs::read(dir.path().join("MANIFEST")).unwrap();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    log.close().unwrap();
    let mut files = read_dir(dir.path());
    let count = frames(&files).iter().filter(|frame| frame.is_record()).count();
    files.insert("MANIFEST".to_owned(), old);
    for watermark in [true, false] {
        if !watermark {
            files.remove("WATERMARK");
        }
        let seen = salvage(write_dir(&files).path());
        assert_eq!(seen.records.len(), count);
        assert!(!seen.report().by_manifest && seen.gaps[0].what.contains("older"), "{seen:?}");
    }
}
