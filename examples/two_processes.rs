//! A writer and a follower in two processes, both killed once: nothing that was acknowledged is lost, nothing comes twice.
//!
//! `cargo run --example two_processes` starts itself as both. The writer appends the lines of a real log, where
//! `../shared/data/loghub` is at hand, else made-up ones, and goes on after its death where its log ends. The follower puts what
//! comes into a file of its own, together with the position behind it, and goes on from there.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Outcome;
use duralog::{Log, Lsn, Options, Reader};

const LINES: usize = 2000;

/// The lines to append. Each is told from all others by its number.
fn lines() -> Outcome<Vec<String>> {
    let lines = common::lines()?.into_iter().take(LINES);
    Ok(lines.enumerate().map(|(n, line)| format!("{n} {line}")).collect())
}

/// Appends what the log does not hold yet, and says the number of each line once it is durable.
fn write(dir: &Path) -> Outcome {
    let log = Options::new().segment_size(256 << 10).open(dir)?;
    let there = log.replay().count();
    for (n, line) in lines()?.iter().enumerate().skip(there) {
        log.append_durable(line.as_bytes())?;
        println!("{n}");
        std::thread::sleep(Duration::from_micros(300));
    }
    log.close()?;
    Ok(())
}

/// Where a follower keeps its position and, with it, what it has made of the records: here, the records themselves.
struct Kept {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Kept {
    fn load(path: PathBuf) -> Outcome<Kept> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![0; 8],
            Err(error) => return Err(error.into()),
        };
        Ok(Kept { path, bytes })
    }

    fn position(&self) -> Outcome<Lsn> {
        let position = self.bytes.first_chunk().ok_or("cut short")?;
        Ok(Lsn::new(u64::from_le_bytes(*position)))
    }

    /// Atomically, so that position and records are always of one moment. (Across a loss of power it would take a sync of the
    /// file before and of the directory after.)
    fn store(&mut self, position: Lsn) -> Outcome {
        let new = self.path.with_extension("new");
        let (first, _) = self.bytes.split_first_chunk_mut().ok_or("cut short")?;
        *first = position.get().to_le_bytes();
        fs::write(&new, &self.bytes)?;
        #[expect(clippy::disallowed_methods, reason = "a file of the example's own")]
        fs::rename(new, &self.path)?;
        Ok(())
    }
}

/// Takes in what comes, from where it was.
fn follow(dir: &Path) -> Outcome {
    let reader = Reader::open(dir)?;
    let mut kept = Kept::load(dir.with_extension("kept"))?;
    let mut follower = reader.follow(kept.position()?)?;
    println!("from {}", kept.position()?);
    let mut since = Instant::now();
    let mut unstored = false;
    loop {
        if let Some(record) = follower.next_timeout(Duration::from_millis(5))? {
            kept.bytes.extend_from_slice(&record.payload);
            kept.bytes.push(b'\n');
            unstored = true;
        }
        if unstored && since.elapsed() > Duration::from_millis(5) {
            kept.store(follower.position())?;
            (since, unstored) = (Instant::now(), false);
        }
    }
}

fn start(what: &str, dir: &Path) -> Outcome<Child> {
    let mut child = Command::new(std::env::current_exe()?);
    Ok(child.arg(what).arg(dir).stdout(Stdio::piped()).spawn()?)
}

/// The last number that the writer says before it has said `until`, or ends. Then it is killed.
fn let_write(dir: &Path, until: usize) -> Outcome<usize> {
    let mut writer = start("write", dir)?;
    let mut last = 0;
    let mut said = BufReader::new(writer.stdout.take().ok_or("no pipe")?).lines();
    while let Some(number) = said.next().transpose()? {
        last = number.parse()?;
        if last >= until {
            writer.kill()?; // SIGKILL
            break;
        }
    }
    // What it said before it died counts as well. A number that was cut short is none, it lacks its end of line.
    let mut rest = String::new();
    if let Some(Ok(line)) = said.next() {
        rest = line;
    }
    writer.wait()?;
    Ok(rest.parse().map_or(last, |rest: usize| if rest == last + 1 { rest } else { last }))
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", dir] => return write(Path::new(dir)),
        ["follow", dir] => return follow(Path::new(dir)),
        _ => {}
    }
    let outer = tempfile::tempdir()?;
    let dir = outer.path().join("log");
    Log::open(&dir)?.close()?;

    let mut follower = start("follow", &dir)?;
    let acknowledged = let_write(&dir, LINES / 3)?;
    println!("the writer was killed after it had acknowledged line {acknowledged}");
    follower.kill()?; // SIGKILL
    follower.wait()?;
    let resumed = Kept::load(dir.with_extension("kept"))?.position()?;
    println!("the follower was killed; it goes on from LSN {resumed}");

    let mut follower = start("follow", &dir)?;
    let acknowledged = let_write(&dir, usize::MAX)?;
    println!("the next writer acknowledged line {acknowledged} and closed the log");
    let expected: String = lines()?.iter().map(|line| format!("{line}\n")).collect();
    let until = Instant::now() + Duration::from_secs(20);
    let mut taken = String::new();
    while taken.len() < expected.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
        let kept = Kept::load(dir.with_extension("kept"))?;
        taken.clear();
        kept.bytes.get(8..).ok_or("cut short")?.read_to_string(&mut taken)?;
    }
    follower.kill()?;
    follower.wait()?;

    // Each line once, in order, though each process was killed: what was acknowledged, and here all that was appended.
    if acknowledged + 1 != LINES || taken != expected {
        return Err(format!("{} of {} lines came", taken.lines().count(), LINES).into());
    }
    println!("the follower has all {LINES} lines, each once, in order");
    std::io::stdout().flush()?;
    Ok(())
}
