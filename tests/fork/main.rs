//! A process that forks while it has a log open. The children here are real: each does what a test gives it, reports through a
//! pipe and leaves by `_exit`; one that hangs is killed, and the test fails.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test"
)]

mod callbacks;
mod calls;
mod held;
mod locks;
mod records;
mod refused;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::sync::{Mutex, MutexGuard, PoisonError};

use duralog::Options;

pub fn small() -> Options {
    Options::new().segment_size(64 << 10)
}

static ALONE: Mutex<()> = Mutex::new(());

/// While the result lives no other test of this program runs. What a fork catches is then what the test is about, and not a lock
/// of the allocator's or of another log's: a child that opens a log needs both.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How to make a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `fork(3)`, which runs the handlers of `pthread_atfork`.
    Fork,
    /// The bare system call, of which the C library learns nothing.
    Clone,
}

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    says: File,
    hears: Option<File>,
}

/// What a child has of its parent.
#[derive(Debug)]
pub struct Parent {
    says: File,
    hears: File,
}

impl Parent {
    pub fn tell(&mut self) {
        self.hears.write_all(b"\n").unwrap();
    }

    /// Until the parent says so, or is no more.
    pub fn wait(&mut self) {
        drop(self.says.read(&mut [0]));
    }
}

/// Makes a child that does `what` and reports what that gives; an empty report is a success.
pub fn fork(by: By, what: impl FnOnce(&mut Parent) -> String) -> Child {
    let ((from_child, to_parent), (from_parent, to_child)) = (pipe(), pipe());
    let pid = match by {
        // SAFETY: the child does only what the test is about, and leaves by `_exit`.
        By::Fork => unsafe { libc::fork() },
        // SAFETY: the same; without a stack of its own it has a copy of this one.
        By::Clone => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32 },
    };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        drop((from_child, to_child));
        let mut parent = Parent { says: from_parent, hears: to_parent };
        let said = catch_unwind(AssertUnwindSafe(|| what(&mut parent)));
        let said = said.unwrap_or_else(|_| "it panicked".to_owned());
        for part in [b"=", said.as_bytes(), b"\0"] {
            drop(parent.hears.write_all(part));
        }
        // SAFETY: ends the process, and runs nothing else of it.
        unsafe { libc::_exit(0) }
    }
    Child { pid, says: from_child, hears: Some(to_child) }
}

impl Child {
    pub fn tell(&mut self) {
        self.hears.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn hear(&mut self, to: &mut [u8]) -> usize {
        let mut polled =
            libc::pollfd { fd: self.says.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which outlives the call.
        if unsafe { libc::poll(&raw mut polled, 1, 30_000) } < 1 {
            // SAFETY: a signal to a child of this process that was not waited for yet.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            panic!("the child hangs");
        }
        self.says.read(to).unwrap()
    }

    /// Until the child has said that it is so far.
    pub fn wait(&mut self) {
        assert_eq!(self.hear(&mut [0]), 1, "the child is no more");
    }

    /// Waits for its end: what it reported.
    pub fn report(mut self) -> String {
        self.hears = None;
        let mut said = Vec::new();
        // Not until the end of the file: children of other tests may hold a copy of the pipe.
        while !said.ends_with(b"\0") {
            let mut bytes = [0; 4096];
            match self.hear(&mut bytes) {
                0 => break,
                n => said.extend_from_slice(&bytes[..n]),
            }
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        let said = String::from_utf8(said).unwrap();
        let report =
            said.trim_start_matches('\n').strip_prefix('=').and_then(|s| s.strip_suffix('\0'));
        report.unwrap_or_else(|| panic!("the child ended by {status:#x}, said {said:?}")).to_owned()
    }

    /// Waits for its end, which must be a success.
    pub fn done(self) {
        assert_eq!(self.report(), "");
    }
}

fn pipe() -> (File, File) {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for two.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both were opened just now, for this.
    fds.map(|fd| unsafe { File::from_raw_fd(fd) }).into()
}

/// A report of what is not as it should be.
#[derive(Debug, Default)]
pub struct Report(String);

impl Report {
    pub fn check(&mut self, is_so: bool, what: &str) {
        if !is_so {
            self.0 += what;
            self.0 += "; ";
        }
    }

    /// It must have been refused, since this is a child.
    pub fn refused<T>(&mut self, what: &str, result: duralog::Result<T>) {
        match result {
            Ok(_) => self.check(false, &format!("{what} is Ok")),
            Err(error) if error.is_forked() => {}
            Err(error) => self.check(false, &format!("{what} is {error}")),
        }
    }

    pub fn end(self) -> String {
        self.0
    }
}
