//! Ctrl-C, or a request to terminate, of a command that has something to put away.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// True from the first one on, which the command ends by itself; the second one ends the program at once.
pub(crate) fn watched() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    on_first(move || flag.store(true, Ordering::Release))?;
    Ok(interrupted)
}

/// Signals that are ignored stay so: who was started by `nohup`, say, goes on when its terminal has gone.
fn on_first(act: impl FnOnce() + Send + 'static) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let heeded = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !ignores(&status, *signal));
    let mut signals = Signals::new(heeded).context("signals")?;
    let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut act = Some(act);
        for _ in signals.forever() {
            match act.take() {
                Some(act) => act(),
                None => std::process::exit(1),
            }
        }
    });
    thread.map(drop).context("signals")
}

/// By a line of /proc/self/status: signal 1 is the lowest bit.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// What ends each [`Input`] at the first interrupt, also one that waits for its next byte.
pub(crate) struct Interrupt {
    /// Its other end is dropped then.
    watched: UnixStream,
    came: Arc<AtomicBool>,
}

impl Interrupt {
    pub(crate) fn watched() -> Result<Interrupt> {
        let (held, watched) = UnixStream::pair().context("signals")?;
        let came = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&came);
        on_first(move || {
            flag.store(true, Ordering::Release);
            drop(held);
        })?;
        Ok(Interrupt { watched, came })
    }

    pub(crate) fn ends(&self, file: File) -> io::Result<Input> {
        Ok(Input { file, interrupt: self.watched.try_clone()? })
    }

    /// An error once it came: for who has much in hand that was read before.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.came.load(Ordering::Acquire), "interrupted");
        Ok(())
    }
}

/// A file, a pipe or a terminal, until an interrupt: from then on each read fails.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    /// Its other end is dropped at the interrupt.
    interrupt: UnixStream,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waits = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = [waits(self.interrupt.as_fd()), waits(self.file.as_fd())];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let [interrupt, _] = fds;
        if !interrupt.revents().is_empty() {
            return Err(io::Error::other("interrupted"));
        }
        self.file.read(buffer)
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_is_seen() {
        let status = "SigBlk:\t0000000000000002\nSigIgn:\t0000000000005001\nSigCgt:\t2\n";
        assert!(ignores(status, SIGHUP) && ignores(status, SIGTERM) && !ignores(status, SIGINT));
        assert!(!ignores("", SIGHUP));
    }
}
