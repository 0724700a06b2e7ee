//! Async without a runtime of its own: tasks append and await that their records are durable, one task follows the log.
//!
//! Each task numbers its events. Killed at any time and run again on the same directory it goes on where it was:
//!
//!     cargo run --example tokio -- DIR

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use duralog::{Log, Lsn};
use futures_util::StreamExt;

const TASKS: usize = 8;
const EVENTS: u64 = 25;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(dir) => run(Path::new(&dir)).await,
        None => {
            // Twice, so that there is something to go on from.
            let home = tempfile::tempdir()?;
            run(&home.path().join("events")).await?;
            run(&home.path().join("events")).await
        }
    }
}

async fn run(dir: &Path) -> Result<(), Box<dyn Error>> {
    // Opening reads and syncs, for a moment as a rule: a service with other work does it in `spawn_blocking`.
    let log = Arc::new(Log::open(dir)?);

    // What is there is durable: each task goes on behind its last event.
    let mut counts = Counts::default();
    for record in log.replay() {
        counts.note(record?.payload())?;
    }
    println!("found:    {} events, none missing, none twice", counts.sum());

    // One task follows, from here on. It sees what is durable, and ends when the log is closed.
    let mut follower = log.follow(log.durable())?;
    let mut seen = counts.clone();
    let following = tokio::spawn(async move {
        while let Some(record) = follower.next().await {
            let record = record.map_err(|error| error.to_string())?;
            seen.note(record.payload())?;
        }
        Ok::<Counts, String>(seen)
    });

    let syncs = log.stats().syncs;
    let tasks: Vec<_> = counts
        .0
        .iter()
        .enumerate()
        .map(|(task, first)| tokio::spawn(log_events(Arc::clone(&log), task, *first)))
        .collect();
    for task in tasks {
        let last = task.await??;
        assert!(last < log.durable());
    }
    let syncs = log.stats().syncs - syncs;
    println!("logged:   {} events, each awaited; {syncs} syncs", TASKS as u64 * EVENTS);

    log.close()?;
    let seen = following.await??;
    println!("followed: {} events, none missing, none twice", seen.sum() - counts.sum());
    assert_eq!(seen.sum(), counts.sum() + TASKS as u64 * EVENTS);
    Ok(())
}

async fn log_events(log: Arc<Log>, task: usize, first: u64) -> duralog::Result<Lsn> {
    let mut last = Lsn::MIN;
    for seq in first..first + EVENTS {
        last = log.append(format!("{task} {seq}").as_bytes())?; // never waits for the disk
        log.when_durable(last).await?; // lets the other tasks go on; they share the sync
    }
    Ok(last)
}

/// How many events of each task there are.
#[derive(Clone, Default)]
struct Counts([u64; TASKS]);

impl Counts {
    fn note(&mut self, payload: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(payload);
        let mut words = text.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (Some(task), Some(seq)) = (number(), number()) else {
            return Err(format!("not an event of this program: {text}"));
        };
        let count = usize::try_from(task).ok().and_then(|task| self.0.get_mut(task));
        let count = count.ok_or_else(|| format!("an unknown task: {text}"))?;
        if *count != seq {
            return Err(format!("task {task}: event {seq} where {count} must be"));
        }
        *count += 1;
        Ok(())
    }

    fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}
