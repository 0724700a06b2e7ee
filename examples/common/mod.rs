//! What the examples share: real lines, and a child that is killed.

#![allow(dead_code, reason = "each example uses its part")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Lines of real logs of real systems, each with the program that it is from, if they lie beside the project; else made up,
/// saying so.
pub(crate) fn lines_of_programs() -> Outcome<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let program = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&text);
            lines.extend(text.lines().map(|line| (program.clone(), line.to_owned())));
        }
    }
    if lines.is_empty() {
        println!("skipped: no real logs beside the project; the lines are made up");
        let made_up = (0..2000).map(|n| format!("line {n}: {}", "x".repeat(n % 100)));
        lines.extend(made_up.map(|line| (String::new(), line)));
    }
    lines.sort(); // the order of files in a folder is no one's
    Ok(lines)
}

/// The lines alone.
pub(crate) fn lines() -> Outcome<Vec<String>> {
    Ok(lines_of_programs()?.into_iter().map(|(_, line)| line).collect())
}

/// Runs this program again with these arguments, kills it (SIGKILL) `time` after its first line, unless it has ended; the
/// lines that it wrote, and whether it was killed. A line that the kill tore is left out.
pub(crate) fn run_and_kill(args: &[&str], time: Duration) -> Outcome<(Vec<String>, bool)> {
    let mut child =
        Command::new(std::env::current_exe()?).args(args).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("it has no output")?;
    let first = Arc::new(OnceLock::new());
    let spoken = Arc::clone(&first);
    let reader = std::thread::spawn(move || {
        let (mut reader, mut lines, mut line) = (BufReader::new(output), Vec::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            spoken.get_or_init(Instant::now);
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        lines
    });
    let mut killed = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if first.get().is_some_and(|first| first.elapsed() >= time) && !killed {
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
