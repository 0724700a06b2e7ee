//! This binary again, as a child, with one task.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any task takes: only a hang meets it.
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

/// Starts a child; its stdin and stdout are the caller's.
pub fn start(name: &str, dir: &Path, how: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, format!("{name}:{how}:{}", dir.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a child that must end well: no signal, no panic, no hang. Asserts that; what it printed after `from`.
pub fn finish(mut child: Child) -> String {
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begin.elapsed() > LONG => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the child hangs");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(status.success(), "the child ended by {status}: {printed}");
    printed
}

/// Both.
pub fn run(name: &str, dir: &Path, how: &str) -> String {
    finish(start(name, dir, how))
}
