//! Whether each peer gives back what it synced: after `close`, and after its process was killed.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use crate::peer::Outcome;
use crate::peers;

const RECORDS: u32 = 1000;

fn payload(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + n as usize % 50)
}

/// Opens the log of `name`, expects the records of as many lives before this one, appends those of one more, and ends
/// by `close` or by SIGKILL.
fn live(name: &str, dir: &Path, lives: u32, killed: bool) -> Outcome<()> {
    let entry = peers::all().into_iter().find(|entry| entry.name == name).ok_or("no such peer")?;
    let log = (entry.open)(dir)?;
    let mut next = 0;
    let mut wrong = None;
    log.replay(&mut |record| {
        if record != payload(next) && wrong.is_none() {
            wrong = Some(next);
        }
        next += 1;
    })?;
    if wrong.is_some() || next != lives * RECORDS {
        return Err(format!("life {lives}: {next} records, the first wrong one {wrong:?}").into());
    }
    for n in (next..next + RECORDS).step_by(10) {
        log.buffered(&payload(n))?;
        log.sync()?;
        log.durable(&payload(n + 1))?;
        let batch: Vec<_> = (n + 2..n + 9).map(payload).collect();
        log.durable_batch(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        log.buffered(&payload(n + 9))?;
        log.sync()?;
    }
    if killed {
        // SAFETY: a signal to oneself.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    log.close()
}

/// A part of the next test, in a process of its own.
#[test]
#[ignore = "called by the next"]
fn one_life() -> Outcome<()> {
    let (Ok(name), Ok(dir)) = (env::var("PEER"), env::var("PEER_DIR")) else { return Ok(()) };
    live(&name, dir.as_ref(), env::var("PEER_LIVES")?.parse()?, env::var("PEER_KILLED")? == "true")
}

#[test]
fn what_was_synced_comes_back() -> Outcome<()> {
    for entry in peers::all() {
        let dir = tempfile::tempdir()?;
        for (lives, killed) in [false, true, true, false, false].into_iter().enumerate() {
            let output = Command::new(env::current_exe()?)
                .args(["--exact", "again::one_life", "--ignored", "--nocapture"])
                .env("PEER", entry.name)
                .env("PEER_DIR", dir.path())
                .env("PEER_LIVES", lives.to_string())
                .env("PEER_KILLED", killed.to_string())
                .current_dir(dir.path())
                .output()?;
            let ended = match killed {
                true => output.status.signal() == Some(libc::SIGKILL),
                false => output.status.success(),
            };
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(ended, "{}: {said}", entry.name);
        }
    }
    Ok(())
}

#[test]
fn what_comes_after_what_was_given_back_stays() -> Outcome<()> {
    for entry in peers::all() {
        if !peers::THAT_GIVE_BACK.contains(&entry.name) {
            continue;
        }
        let dir = tempfile::tempdir()?;
        let log = (entry.open)(dir.path())?;
        for n in 0..10 {
            (n * 100..n * 100 + 100).try_for_each(|n| log.durable(&payload(n)))?;
            log.give_back()?;
        }
        log.durable(&payload(RECORDS))?;
        log.close()?;
        let mut last = Vec::new();
        (entry.open)(dir.path())?.replay(&mut |record| last = record.to_vec())?;
        assert_eq!(last, payload(RECORDS), "{}", entry.name);
    }
    Ok(())
}
