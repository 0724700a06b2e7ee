//! Ctrl-C, or a request to terminate, of a command that has something to put away.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

/// True from the first one on, which the command ends by itself; the second one ends the program at once.
pub(crate) fn watched() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    on_first(move || flag.store(true, Ordering::Release))?;
    Ok(interrupted)
}

fn on_first(act: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut act = Some(act);
    let noted = ctrlc::set_handler(move || match act.take() {
        Some(act) => act(),
        None => std::process::exit(1),
    });
    noted.context("signals")
}

/// What ends each [`Input`] at the first interrupt, also one that waits for its next byte.
pub(crate) struct Interrupt {
    /// Its other end is dropped then; it is held here if no interrupt can come.
    watched: UnixStream,
    _held: Option<UnixStream>,
    came: Arc<AtomicBool>,
}

impl Interrupt {
    /// Who was started to ignore one of these signals, by `nohup` say, is left as it was.
    pub(crate) fn watched() -> Result<Interrupt> {
        let (held, watched) = UnixStream::pair().context("signals")?;
        let came = Arc::new(AtomicBool::new(false));
        if is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            return Ok(Interrupt { watched, _held: Some(held), came });
        }
        let flag = Arc::clone(&came);
        on_first(move || {
            flag.store(true, Ordering::Release);
            drop(held);
        })?;
        Ok(Interrupt { watched, _held: None, came })
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

/// Whether one of the signals is ignored that end the input: a line of /proc/self/status, signal 1 the lowest bit.
fn is_ignored(status: &str) -> bool {
    let signals = [Signal::HUP, Signal::INT, Signal::TERM];
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signals.iter().any(|signal| mask >> (signal.as_raw() - 1) & 1 == 1)
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
        assert!(!is_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        for mask in ["0000000000001001", "0000000000000002", "0000000000004000"] {
            assert!(is_ignored(&format!("SigIgn:\t{mask}\nSigCgt:\t0\n")), "{mask}");
        }
    }
}
