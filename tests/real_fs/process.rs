//! This binary again, as a child, with one task.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Far more than any task takes, on a slow machine too: only a hang meets it.
const LONG: Duration = Duration::from_secs(300);
const TASK: &str = "DURALOG_REAL_FS_TASK";

/// What a child is to do, and where.
pub struct Task {
    pub name: String,
    pub dir: PathBuf,
    /// A word that the task understands.
    pub how: String,
}

/// This process's task, if it is a child.
pub fn task() -> Option<Task> {
    let task = std::env::var(TASK).ok()?;
    let mut parts = task.splitn(3, ':');
    let (name, how, dir) = (parts.next()?.into(), parts.next()?.into(), parts.next()?.into());
    Some(Task { name, dir, how })
}

/// A child: killed when it is dropped, so that it holds no mount of a test that has failed.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    printed: String,
}

pub fn start(name: &str, dir: &Path, how: &str) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, format!("{name}:{how}:{}", dir.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let (line, lines) = channel();
    std::thread::spawn(move || {
        stdout.lines().map_while(Result::ok).all(|found| line.send(found).is_ok())
    });
    Running { child, stdin, lines, printed: String::new() }
}

/// Waits until `child` has ended; none if it hangs.
pub fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    loop {
        let status = child.try_wait().unwrap();
        if status.is_some() || begin.elapsed() > limit {
            return status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a program to its end; what it printed, or why not.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.env("LC_ALL", "C").stdin(Stdio::null());
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("{name}: {error}"))?;
    if ended(&mut child, LONG).is_none() {
        drop(child.kill());
        return Err(format!("{name}: it hangs"));
    }
    let done = child.wait_with_output().unwrap();
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

impl Running {
    /// The next line that begins with `word`.
    pub fn expect(&mut self, word: &str) -> String {
        loop {
            match self.next_line() {
                Some(line) if line.starts_with(word) => return line,
                Some(_) => {}
                None => panic!("the child ended early: {}", self.printed),
            }
        }
    }

    fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => {
                self.printed += &format!("{line}\n");
                Some(line)
            }
            Err(RecvTimeoutError::Timeout) => panic!("the child hangs: {}", self.printed),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    pub fn say(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// As the child's process dies by SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for a child that must end well: no signal, no panic, no hang. All that it printed.
    pub fn finish(mut self) -> String {
        while self.next_line().is_some() {}
        let status = ended(&mut self.child, LONG).expect("the child hangs");
        assert!(status.success(), "the child ended by {status}: {}", self.printed);
        std::mem::take(&mut self.printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        // Not for ever: what waits for a dead device cannot be killed.
        if ended(&mut self.child, Duration::from_secs(20)).is_none() {
            eprintln!("left behind: the process {}", self.child.id());
        }
    }
}

/// Starts a child and waits for its end.
pub fn run(name: &str, dir: &Path, how: &str) -> String {
    start(name, dir, how).finish()
}
