//! The main job, told honestly: a process logs events from eight threads and is killed in the midst; every
//! event that it was told is durable is there when the log is opened again.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use duralog::{Log, Lsn};
use serde_json::{Value, json};

const THREADS: usize = 8;
const RUN: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(dir) => log_events(&dir),
        None => run_and_kill(),
    }
}

/// The child: logs until it is killed, and tells its parent what is durable.
fn log_events(dir: &str) -> Result<(), Box<dyn Error>> {
    let log = Log::open(dir)?;
    let events = [
        json!({"event": "user_signup", "user_id": "user-123"}),
        json!({"event": "user_purchase", "user_id": "user-123", "item": "item-abc"}),
    ];
    for event in events {
        let lsn = log.append(event.to_string().as_bytes())?;
        println!("appended {lsn}");
    }
    log.commit()?; // both are durable now
    println!("committed");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for seq in 0u64.. {
                    let event = json!({"event": "page_view", "thread": thread, "seq": seq});
                    let Ok(lsn) = log.append_durable(event.to_string().as_bytes()) else { return };
                    // One write a line, so that a kill tears at most the last one.
                    let line = format!("{thread} {seq} {lsn}\n");
                    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

/// The parent: kills the child, opens the log, checks every promise that the child was given.
fn run_and_kill() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let dir = home.path().join("events");
    let mut child =
        Command::new(std::env::current_exe()?).arg(&dir).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let reader = std::thread::spawn(move || -> std::io::Result<Vec<String>> {
        let mut lines = BufReader::new(output);
        let mut all = Vec::new();
        loop {
            let mut line = String::new();
            // A line without its end was never finished: nothing was acknowledged by it.
            if lines.read_line(&mut line)? == 0 || !line.ends_with('\n') {
                return Ok(all);
            }
            all.push(line.trim_end().to_owned());
        }
    });
    std::thread::sleep(RUN);
    child.kill()?; // SIGKILL
    if let Some(code) = child.wait()?.code() {
        return Err(format!("the child ended before it was killed, with {code}").into());
    }
    let lines = reader.join().map_err(|_| "the reader failed")??;
    let committed = lines.iter().any(|line| line == "committed");
    let acknowledged: Vec<(u64, u64, Lsn)> =
        lines.iter().filter_map(|line| acknowledgement(line)).collect();
    println!(
        "A child logged events from {THREADS} threads and was killed with SIGKILL after {RUN:?}."
    );
    println!(
        "  told that it is durable:   {:>9} events",
        acknowledged.len() + if committed { 2 } else { 0 }
    );

    let log = Log::open(&dir)?;
    println!("  recovery:                  {:?}", log.recovery().tail);
    let started = Instant::now();
    let mut counts = [0; THREADS];
    let mut first_two = Vec::new();
    let mut found = BTreeMap::new();
    for record in &log {
        let record = record?;
        let event: Value = serde_json::from_slice(record.payload())?;
        match place(&event) {
            Some((thread, seq)) => {
                let count = counts.get_mut(usize::try_from(thread)?).ok_or("an unknown thread")?;
                if *count != seq {
                    return Err(
                        format!("thread {thread}: event {seq} where {count} must be").into()
                    );
                }
                *count += 1;
                found.insert(record.lsn(), (thread, seq));
            }
            None => first_two.extend(event.get("event").cloned()),
        }
    }
    let parse_seconds = started.elapsed().as_secs_f64();
    if committed && first_two != [json!("user_signup"), json!("user_purchase")] {
        return Err("the two committed events are not the first two".into());
    }
    for (thread, seq, lsn) in &acknowledged {
        if found.get(lsn) != Some(&(*thread, *seq)) {
            let there = found.get(lsn);
            return Err(format!("LSN {lsn}: {there:?}, not event {seq} of thread {thread}").into());
        }
    }
    let total = counts.iter().sum::<u64>() + first_two.len() as u64;
    println!("  found after the kill:      {total:>9} events, each thread's in order, no gap");
    println!("  acknowledged and missing:          0");
    println!("  (what was found beyond is what had been appended, but not yet acknowledged)");
    println!("  durable events a second:   {:>9.0}", acknowledged.len() as f64 / RUN.as_secs_f64());
    let started = Instant::now();
    let replayed = log.replay().count();
    let seconds = started.elapsed().as_secs_f64();
    println!("  replayed a second:         {:>9.0}", replayed as f64 / seconds);
    println!("  parsed as JSON a second:   {:>9.0}", total as f64 / parse_seconds);

    let given_back = log.checkpoint(log.durable())?;
    println!(
        "A checkpoint gave {} segments back; {} records are left.",
        given_back.segments,
        log.replay().count()
    );
    log.close()?;
    println!("The log is closed. Every promise was kept.");
    Ok(())
}

/// Which event of which thread it is; none for the first two.
fn place(event: &Value) -> Option<(u64, u64)> {
    Some((event.get("thread")?.as_u64()?, event.get("seq")?.as_u64()?))
}

fn acknowledgement(line: &str) -> Option<(u64, u64, Lsn)> {
    let mut words = line.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
