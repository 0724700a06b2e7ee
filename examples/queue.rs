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

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use common::{Outcome, lines, run_and_kill, say};
use duralog::{Consumer, Log, Lsn, Options};

const CONSUMERS: [&str; 2] = ["mailer", "indexer"];
const JOBS: usize = 20_000;

fn open(dir: &Path) -> Outcome<Log> {
    Ok(Options::new().segment_size(256 << 10).spare_segments(1).open(dir.join("log"))?)
}

/// Puts all jobs into the queue, going on behind the last one that is in it.
fn produce(log: &Log, lines: &[String]) -> Outcome {
    let last = log.metadata()?; // how many were put in, kept with them
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

/// Does one job after another, until all are done. What it does is a line in a file: the LSN, and the job.
fn consume(log: &Log, consumer: &Consumer, dir: &Path) -> Outcome {
    let path = dir.join(consumer.name());
    let mut done = done_by(&path)?;
    let mut output = OpenOptions::new().create(true).append(true).open(&path)?;
    File::open(dir)?.sync_all()?; // the file's name
    let mut follower = consumer.follow()?;
    // Not "until the last job comes": a life that was killed behind it may have acknowledged it.
    while done.numbers.len() < JOBS {
        let Some(job) = follower.next_timeout(Duration::from_secs(60))? else {
            return Err(format!("{} waits for job {}", consumer.name(), done.numbers.len()).into());
        };
        let text = String::from_utf8_lossy(job.payload());
        let number: usize = text.split(' ').next().unwrap_or("").parse()?;
        // Done before the kill, and not acknowledged; or put into the queue twice.
        if done.last.is_some_and(|last| job.lsn() <= last) || done.numbers.len() > number {
            continue;
        }
        output.write_all(format!("{} {text}\n", job.lsn()).as_bytes())?;
        done.last = Some(job.lsn());
        done.numbers.push(number);
        if number % 500 == 499 {
            acknowledge(consumer, &output, job.lsn())?;
        }
    }
    if let Some(last) = done.last {
        acknowledge(consumer, &output, last)?;
    }
    log.commit()?;
    Ok(())
}

/// First what it did is durable, then it says that it is done: else a loss of power could take the one and leave the other.
fn acknowledge(consumer: &Consumer, output: &File, lsn: Lsn) -> Outcome {
    output.sync_data()?;
    consumer.ack(lsn)?; // durable with the next commit, whoever does it
    Ok(())
}

struct Done {
    last: Option<Lsn>,
    numbers: Vec<usize>,
}

/// What is in the file; a line that a kill tore is taken out.
fn done_by(path: &Path) -> Outcome<Done> {
    let mut done = Done { last: None, numbers: Vec::new() };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(done),
        Err(error) => return Err(error.into()),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
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
    // Before the first job is put in: one who comes later begins where the log does by then.
    let consumers =
        CONSUMERS.iter().map(|name| log.consumer(name)).collect::<Result<Vec<_>, _>>()?;
    say("begun");
    std::thread::scope(|scope| -> Outcome {
        let consumers: Vec<_> = consumers
            .iter()
            .map(|consumer| {
                let log = &log;
                scope.spawn(move || consume(log, consumer, dir).map_err(|error| error.to_string()))
            })
            .collect();
        produce(&log, &lines)?;
        for consumer in consumers {
            consumer.join().map_err(|_| "a consumer panicked")??;
        }
        Ok(())
    })?;
    let freed = log.checkpoint_to_slowest()?;
    say(&format!("done; {} segments given back at the end", freed.segments));
    for blocker in log.blockers()? {
        say(&format!("{:?} holds {} bytes", blocker.holder, blocker.bytes));
    }
    Ok(log.close()?)
}

fn try_itself() -> Outcome {
    let home = tempfile::tempdir()?;
    let dir = home.path().to_str().ok_or("the path is no text")?;
    // Each life has twice the time of the one before it: so one of them comes to the end.
    let (mut kills, mut life) = (0, Duration::from_millis(10));
    let said = loop {
        let (said, killed) = run_and_kill(&["work", dir], life)?;
        if !killed {
            break said;
        }
        (kills, life) = (kills + 1, life * 2);
    };
    if kills == 0 {
        return Err("it was done before it could be killed".into());
    }
    said.iter().skip(1).for_each(|line| println!("{line}"));
    // And once more, as after a kill behind the last job.
    if run_and_kill(&["work", dir], Duration::from_secs(50))?.1 {
        return Err("all was done, and it did not end".into());
    }
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
