//! A durable work queue with two consumers, killed and resumed: nothing is lost, nothing is done twice.
//!
//! Jobs are records. Each consumer follows the log from its position, which the log keeps; it does a job, then
//! acknowledges it. If it is killed between the two, it is given that job again (at least once). So that nothing is done
//! twice, what it does carries the job's LSN, and it knows by that where it was: exactly once.
//!
//! Without an argument it tries itself: as a child that is killed several times.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "files of the example's own; indices within bounds"
)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use common::{Outcome, lines, run_and_kill, say};
use duralog::{Log, Lsn, Options};

const CONSUMERS: [&str; 2] = ["mailer", "indexer"];
const JOBS: usize = 20_000;

fn open(dir: &Path) -> Outcome<Log> {
    Ok(Options::new().segment_size(256 << 10).spare_segments(1).open(dir.join("log"))?)
}

/// Puts all jobs into the queue, going on behind the last one that is in it.
fn produce(log: &Log, lines: &[String]) -> Outcome {
    let last = log.metadata(); // how many were put in, kept with them
    let done = last.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) as usize;
    for n in done..JOBS {
        log.append(format!("{n} {}", lines[n % lines.len()]).as_bytes())?;
        // Behind its record: so the number is never ahead of the jobs. If only the record survives, the job is in the
        // queue twice, and its number tells.
        log.set_metadata(&(n as u64 + 1).to_le_bytes())?;
        if n % 100 == 99 {
            log.commit()?;
            log.checkpoint_to_slowest()?;
        }
    }
    log.commit()?;
    Ok(())
}

/// Does one job after another. What it does is a line in a file: the LSN, and the job.
fn consume(log: &Log, name: &str, dir: &Path) -> Outcome {
    let path = dir.join(name);
    let mut done = done_by(&path)?;
    let mut output = OpenOptions::new().create(true).append(true).open(&path)?;
    let consumer = log.consumer(name)?;
    let mut follower = consumer.follow()?;
    loop {
        let Some(job) = follower.next_timeout(Duration::from_secs(10))? else {
            return Err(format!("{name} waits for job {}", done.numbers.len()).into());
        };
        let text = String::from_utf8_lossy(job.payload());
        let number: usize = text.split(' ').next().unwrap_or("").parse()?;
        // Done before the kill, and not acknowledged; or put into the queue twice.
        let known = done.last.is_some_and(|last| job.lsn() <= last) || done.numbers.len() > number;
        if !known {
            output.write_all(format!("{} {text}\n", job.lsn()).as_bytes())?;
            done.numbers.push(number);
        }
        if number % 50 == 49 || number + 1 == JOBS {
            consumer.ack(job.lsn())?; // durable with the next commit, whoever does it
        }
        if number + 1 == JOBS {
            log.commit()?;
            return Ok(());
        }
    }
}

struct Done {
    last: Option<Lsn>,
    numbers: Vec<usize>,
}

/// What is in the file; a line that a kill tore is taken out.
fn done_by(path: &Path) -> Outcome<Done> {
    let mut done = Done { last: None, numbers: Vec::new() };
    let bytes = fs::read(path).unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        fs::write(path, &bytes[..whole])?;
    }
    for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or("");
        done.last = Some(Lsn::new(word().parse()?));
        done.numbers.push(word().parse()?);
    }
    Ok(done)
}

/// The child: a producer and two consumers, until all is done or it is killed.
fn work(dir: &str) -> Outcome {
    let (dir, lines) = (Path::new(dir), lines()?);
    let log = open(dir)?;
    say("begun");
    std::thread::scope(|scope| -> Outcome {
        let consumers = CONSUMERS.map(|name| {
            let log = &log;
            scope.spawn(move || consume(log, name, dir).map_err(|error| error.to_string()))
        });
        produce(&log, &lines)?;
        for consumer in consumers {
            consumer.join().map_err(|_| "a consumer panicked")??;
        }
        Ok(())
    })?;
    let freed = log.checkpoint_to_slowest()?;
    say(&format!("done; {} segments given back at the end", freed.segments));
    for blocker in log.blockers() {
        say(&format!("{:?} holds {} bytes", blocker.holder, blocker.bytes));
    }
    Ok(log.close()?)
}

fn try_itself() -> Outcome {
    let home = tempfile::tempdir()?;
    let dir = home.path().to_str().ok_or("the path is no text")?;
    let mut kills = 0;
    // Longer each time, so that it ends.
    let said = loop {
        let time = Duration::from_millis(60 * (kills + 1));
        let (said, killed) = run_and_kill(&["work", dir], time)?;
        if !killed {
            break said;
        }
        kills += 1;
    };
    if kills == 0 {
        return Err("it was done before it could be killed".into());
    }
    said.iter().skip(1).for_each(|line| println!("{line}"));
    for name in CONSUMERS {
        let done = done_by(&home.path().join(name))?;
        if !done.numbers.iter().copied().eq(0..JOBS) {
            return Err(
                format!("{name} did {} jobs, not each once in order", done.numbers.len()).into()
            );
        }
    }
    println!("{kills} kills; each of {JOBS} jobs was done once by each of {CONSUMERS:?}, in order");
    Ok(())
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", dir] => work(dir),
        _ => try_itself(),
    }
}
