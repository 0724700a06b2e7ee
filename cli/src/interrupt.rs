//! Ctrl-C, or a request to terminate, of a command that has something to put away.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

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
pub(crate) struct Interrupt(UnixStream);

impl Interrupt {
    pub(crate) fn watched() -> Result<Interrupt> {
        let (held, watched) = UnixStream::pair().context("signals")?;
        on_first(move || drop(held))?;
        Ok(Interrupt(watched))
    }

    pub(crate) fn ends(&self, file: File) -> io::Result<Input> {
        Ok(Input { file, interrupt: self.0.try_clone()? })
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
