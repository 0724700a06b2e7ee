//! Which process this is.
//!
//! A fork copies the memory of a process, locks in whatever state they are, but of its threads only the one that forked. What
//! the copy shows as an open log is the parent's: its files, its lock, its threads. So whatever was opened remembers the
//! process that opened it, and everyone who is about to use it compares.
//!
//! It must cost an append next to nothing, so it is no system call, but a word in memory that a fork sets to zero: on a page
//! that the kernel wipes in a child (`MADV_WIPEONFORK`, Linux 4.14), also if the child comes of a bare `clone(2)`. Where that is
//! refused (older kernels, filters of system calls) or ignored (qemu-user says yes to any advice), the handler of
//! `pthread_atfork(3)` clears the word; it runs in each child of `fork(3)`. `vfork` and `posix_spawn` do neither, and need
//! neither: their child runs no code of its parent's but up to `exec`.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The word: which generation of processes this one is, each child one later than its parent; 0 until it opens something.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The newest generation that this process or an ancestor of it was. In ordinary memory, so that a child inherits it.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// How often this process or an ancestor of it was about to fork.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The process that opened something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    word: &'static AtomicU64,
    generation: u64,
}

impl Process {
    /// The one that runs. Fails where there is no memory for a page.
    pub(crate) fn this() -> io::Result<Process> {
        let word = word()?;
        let found = word.load(Ordering::Acquire);
        if found != 0 {
            return Ok(Process { word, generation: found });
        }
        // Later than any that a handle in this memory may remember.
        let next = NEWEST.fetch_add(1, Ordering::AcqRel) + 1;
        let stored = word.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire);
        Ok(Process { word, generation: stored.map_or_else(|other| other, |_| next) })
    }

    /// Whether it is the one that runs, and not an ancestor.
    #[inline]
    pub(crate) fn is_this(self) -> bool {
        self.word.load(Ordering::Relaxed) == self.generation
    }
}

/// How often there was a fork, as far as the C library knows: from the first call on, and not by a bare `clone(2)`.
pub(super) fn forks() -> u64 {
    FORKS.load(Ordering::Acquire)
}

extern "C" fn before_a_fork() {
    FORKS.fetch_add(1, Ordering::AcqRel);
}

/// Only what a signal handler may do: an atomic store.
extern "C" fn in_a_child() {
    if let Some(word) = found() {
        word.store(0, Ordering::Release);
    }
}

fn found() -> Option<&'static AtomicU64> {
    // SAFETY: null, or what `word` stored: aligned, initialised, and never unmapped.
    unsafe { WORD.load(Ordering::Acquire).as_ref() }
}

/// The word, which the first call makes. Without a lock, which a fork might catch.
fn word() -> io::Result<&'static AtomicU64> {
    if let Some(word) = found() {
        return Ok(word);
    }
    let len = rustix::param::page_size();
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), len, rights, MapFlags::PRIVATE) }?;
    // SAFETY: the page is this function's alone so far; the advice changes nothing but what a fork copies.
    let advised = unsafe { madvise(page, len, Advice::LinuxWipeOnFork) };
    // SAFETY: the handlers are functions without arguments that live as long as the program, and store to atomics alone.
    let failed = unsafe { libc::pthread_atfork(Some(before_a_fork), None, Some(in_a_child)) };
    let word = page.cast::<AtomicU64>();
    let none = ptr::null_mut();
    let lost = || {
        // SAFETY: no one else has seen the page.
        unsafe { munmap(page, len) }.unwrap_or_default();
    };
    if failed != 0 && advised.is_err() {
        lost();
        return Err(io::Error::from_raw_os_error(failed));
    }
    if WORD.compare_exchange(none, word, Ordering::AcqRel, Ordering::Acquire).is_err() {
        lost(); // another thread was first
    }
    found().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
