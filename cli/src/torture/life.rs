//! Children as the parent sees them: started, listened to, killed, and what an open finds when they are dead.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duralog::{Error, Options};
use rustix::process::{Pid, Signal, kill_process};

use super::history::{Broken, Found, History};
use super::words::Said;

/// Only a hang takes as long.
const PATIENCE: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;
const INTERRUPTED: [i32; 2] = [SIGKILL, 15];

/// How a command is run: by itself, or by a tracer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracer(pub(crate) Vec<String>);

impl Tracer {
    pub(crate) fn command(&self, program: &Path, args: &[&OsStr]) -> Command {
        let mut command = match self.0.split_first() {
            None => Command::new(program),
            Some((tracer, flags)) => {
                let mut command = Command::new(tracer);
                command.args(flags).arg(program);
                command
            }
        };
        command.args(args);
        command
    }
}

pub(crate) struct Life {
    child: Child,
    lines: Receiver<Said>,
    pid: Option<Pid>,
    killed: bool,
    pub(crate) said: Vec<Said>,
}

impl Life {
    /// In a group of its own: an interrupt from the keyboard is for the parent alone.
    pub(crate) fn start(mut command: Command) -> Result<Life> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::inherit());
        let mut child = command.spawn().context("a child process")?;
        let stdout = BufReader::new(child.stdout.take().context("a pipe")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // What is no line of ours says nothing.
            let heard = stdout.lines().map_while(std::result::Result::ok);
            heard.filter_map(|line| Said::parse(&line)).all(|said| sender.send(said).is_ok())
        });
        Ok(Life { child, lines, pid: None, killed: false, said: Vec::new() })
    }

    /// Listens for so long. False: the child has ended before.
    pub(crate) fn listen(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(said) => self.hear(said),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Until the child has said something of this kind. False: it ended before, or hangs.
    pub(crate) fn wait_for(&mut self, is_it: impl Fn(&Said) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        while !self.said.last().is_some_and(&is_it) {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(said) => self.hear(said),
                Err(_) => return false,
            }
        }
        true
    }

    fn hear(&mut self, said: Said) {
        if let Said::Started(pid) = said {
            self.pid = Pid::from_raw(pid);
        }
        self.said.push(said);
    }

    /// While the child holds its log open and waits: another process must not get it.
    pub(crate) fn probe(&mut self, dir: &Path) -> Result<()> {
        match Options::new().create(false).open(dir) {
            Err(Error::Locked { .. }) => {}
            other => {
                let found = format!("{other:?}");
                return Err(Broken::new("P8", "a second process to meet Locked", found).into());
            }
        }
        let stdin = self.child.stdin.as_mut().context("a pipe")?;
        stdin.write_all(b"\n").context("the child's pipe")
    }

    /// By SIGKILL; a tracer stays, to see it.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if self.pid.is_none() {
            // Under a tracer ours is not the process to kill.
            self.wait_for(|said| matches!(said, Said::Started(_)));
        }
        self.killed = true;
        if let Some(pid) = self.pid {
            // If it has just ended by itself, its parent, the tracer or we, has yet to wait for it, or it is gone.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for the end, and says how it was; everything that was said is heard.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(said) => self.hear(said),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    drop(self.kill());
                    return Err(Broken::new("P7", "an end", "a hang of two minutes").into());
                }
            }
        }
        let status = self.child.wait().context("a child process")?;
        // A tracer dies by the signal of its tracee.
        match status.signal() {
            Some(signal) if !INTERRUPTED.contains(&signal) => {
                Err(Broken::new("P7", "errors, never signals", status).into())
            }
            _ if status.code() == Some(101) => {
                Err(Broken::new("P7", "errors", "a panic, told on standard error").into())
            }
            _ => Ok(status),
        }
    }

    /// The error by which it ended, if it told one.
    pub(crate) fn error(&self) -> Option<&str> {
        self.said.iter().rev().find_map(|said| match said {
            Said::Error(what) => Some(what.as_str()),
            _ => None,
        })
    }

    /// All that it said goes into the history of its log.
    pub(crate) fn tell(&self, history: &mut History) -> Result<()> {
        self.said.iter().try_for_each(|said| history.hear(said)).map_err(Into::into)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.filter(|_| !self.killed) {
            if matches!(self.child.try_wait(), Ok(None)) {
                kill_process(pid, Signal::KILL).unwrap_or_default();
            }
        }
        drop(self.child.stdin.take());
    }
}

/// Goes through what a checking child said: what it found, and what it did then.
pub(crate) fn check(life: &Life, history: &mut History) -> Result<bool> {
    for said in &life.said {
        if let Said::Broken { promise, what } = said {
            return Err(Broken::new(promise, "the promise to hold", what).into());
        }
    }
    let Some(end) = life.said.iter().position(|said| *said == Said::End) else {
        return Ok(false);
    };
    let (found, then) = life.said.split_at(end);
    history.check(&gather(found)?)?;
    then.iter().try_for_each(|said| history.hear(said))?;
    Ok(true)
}

fn gather(said: &[Said]) -> Result<Found> {
    let mut all = Found::default();
    for said in said {
        match said {
            Said::Found { head, end, checkpoint, torn } => {
                (all.head, all.end, all.checkpoint, all.torn) = (*head, *end, *checkpoint, *torn);
            }
            Said::Record { lsn, origin } => all.records.push((*lsn, *origin)),
            Said::Position(position) => all.position = Some(*position),
            Said::Number(n) => all.metadata = *n,
            Said::Started(_) | Said::Opened => {}
            other => bail!("a checking child said {other}"),
        }
    }
    Ok(all)
}
