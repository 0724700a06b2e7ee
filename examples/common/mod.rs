//! What the examples share: real lines, and a child that is killed.

#![allow(dead_code, reason = "each example uses its part")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Lines of real logs of real systems, if they lie beside the project; else made up, saying so.
pub(crate) fn lines() -> Outcome<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read(path)?;
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
    }
    if lines.is_empty() {
        println!("skipped: no real logs beside the project; the lines are made up");
        lines.extend((0..2000).map(|n| format!("line {n}: {}", "x".repeat(n % 100))));
    }
    lines.sort(); // the order of files in a folder is no one's
    Ok(lines)
}

/// Runs this program again with these arguments, kills it (SIGKILL) after `time`, unless it has ended; the lines that it
/// wrote, and whether it was killed. A line that the kill tore is left out.
pub(crate) fn run_and_kill(args: &[&str], time: Duration) -> Outcome<(Vec<String>, bool)> {
    let mut child =
        Command::new(std::env::current_exe()?).args(args).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("it has no output")?;
    let reader = std::thread::spawn(move || {
        let (mut reader, mut lines, mut line) = (BufReader::new(output), Vec::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        lines
    });
    let started = Instant::now();
    let mut killed = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= time && !killed {
            child.kill()?;
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    if !killed && !status.success() {
        return Err(format!("it ended with {status}").into());
    }
    Ok((reader.join().map_err(|_| "the reader panicked")?, killed))
}

/// One line by one write, so that a kill tears at most the last.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}
