//! The process that opens a log after a fault and says what is in it: an error, a panic or a signal of recovery is its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use duralog::inspect::Inspector;
use duralog::{Error, Log, Lsn, Options, Tail};

use super::child::Voice;
use super::words::{CONSUMER, Origin, Said, metadata_number};

/// More records than these are checkpointed away, so that no check takes long.
const MANY: u64 = 8 << 20;

/// Files beside the segments that a manifest names: some made ahead, some spare.
const BESIDE: u64 = 8;
const RESERVE: u64 = 4 << 20;

pub(crate) fn run(dir: &Path, seed: u64, voice: &Voice) -> Result<(), Error> {
    let log = match Options::new().segment_size(1 << 20).open(dir) {
        Err(error) if error.is_corrupt() => return voice.broken("P5", error.to_string()),
        log => log?,
    };
    voice.say(&Said::Opened)?;
    tell(&log, seed, voice)?;
    look_at_files(dir, voice)?;
    let (end, checkpoint) = (log.end().get(), log.checkpoint_lsn().get());
    voice.say(&Said::End)?;
    if end.saturating_sub(checkpoint) > MANY {
        let at = log.durable().get();
        voice.say(&Said::Checkpoint { at, done: false })?;
        log.checkpoint(Lsn::new(at))?;
        voice.say(&Said::Checkpoint { at, done: true })?;
    }
    if seed % 2 == end / 8 % 2 {
        return Ok(()); // as a crash
    }
    log.close()?;
    drop(log);
    let log = Options::new().segment_size(1 << 20).open(dir)?;
    if log.recovery().tail != Tail::Clean || log.recovery().records > 0 {
        voice.broken("P9", format!("behind a close that was Ok: {:?}", log.recovery()))?;
    }
    Ok(())
}

fn tell(log: &Log, seed: u64, voice: &Voice) -> Result<(), Error> {
    let torn = matches!(log.recovery().tail, Tail::Torn { .. });
    let [head, end, checkpoint] =
        [log.head(), log.end(), log.checkpoint_lsn()].map(duralog::Lsn::get);
    voice.say(&Said::Found { head, end, checkpoint, torn })?;
    if log.durable() < log.end() {
        let what = format!("an open log, durable to {} of {end}", log.durable());
        voice.broken("P1", what)?;
    }
    for record in log {
        let record = match record {
            Err(error) if error.is_corrupt() => return voice.broken("P5", error.to_string()),
            record => record?,
        };
        let lsn = record.lsn().get();
        match Origin::of(record.payload(), seed) {
            Some(origin) => voice.say(&Said::Record { lsn, origin })?,
            None => voice.broken("P2", format!("bytes that no one appended, at LSN {lsn}"))?,
        }
    }
    let consumer = log.consumers()?.into_iter().find(|consumer| consumer.name == CONSUMER);
    if let Some(consumer) = consumer {
        voice.say(&Said::Position(consumer.position.get()))?;
    }
    match metadata_number(seed, &log.metadata()?) {
        Some(n) => voice.say(&Said::Number(n)),
        None => voice.broken("P2", "metadata that no one set"),
    }
}

/// Modes, and that no file stays which the log does not need.
fn look_at_files(dir: &Path, voice: &Voice) -> Result<(), Error> {
    let io = |source| Error::Io { op: "readdir", path: dir.to_owned(), source };
    let segments = Inspector::open(dir)?.summary().segments.clone();
    let largest = segments.iter().map(|segment| segment.size).max().unwrap_or(0).max(1 << 20);
    let mut held = 0;
    let mode = std::fs::metadata(dir).map_err(io)?.permissions().mode() & 0o777;
    if mode != 0o700 {
        voice.broken("P12", format!("a directory of mode {mode:o}"))?;
    }
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        // The log's own thread may just have removed or renamed it.
        let Ok(found) = entry.metadata() else { continue };
        let mode = found.permissions().mode() & 0o777;
        if mode != 0o600 {
            voice.broken("P12", format!("{} of mode {mode:o}", entry.path().display()))?;
        }
        held += found.blocks() * 512;
    }
    let named: u64 = segments.iter().map(|segment| segment.size).sum();
    let bound = named + BESIDE * largest + RESERVE;
    if held > bound {
        let what = format!("{held} bytes of files for {} segments: {bound} do", segments.len());
        voice.broken("P9", what)?;
    }
    Ok(())
}
