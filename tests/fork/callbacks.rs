//! Others' code that forks while the log runs it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use duralog::{Error, Event};

use crate::calls::numbers;
use crate::{alone, small};

/// Forks without running anything in the child: true there.
fn is_child() -> bool {
    // SAFETY: the child goes on as a copy of this thread, which is what is tested; it leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid > 0 {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0, "the child ended by {status:#x}");
    }
    pid == 0
}

fn leave(is_right: bool) -> ! {
    // SAFETY: ends the process, and runs nothing else of it.
    unsafe { libc::_exit(i32::from(!is_right)) }
}

#[test]
fn p8_an_opening_whose_progress_forks_goes_on_in_the_parent_alone() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(&1_u32.to_le_bytes()).unwrap();
    drop(log);
    let forked = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&forked);
    let options = small().progress(move |_| {
        inner.lock().unwrap().get_or_insert_with(is_child);
        std::ops::ControlFlow::Continue(())
    });
    let opened = options.open(dir.path());
    if *forked.lock().unwrap() == Some(true) {
        leave(matches!(opened, Err(Error::Forked)));
    }
    assert_eq!(*forked.lock().unwrap(), Some(false));
    let log = opened.unwrap();
    assert!(small().open(dir.path()).unwrap_err().is_locked());
    log.append_durable(&2_u32.to_le_bytes()).unwrap();
    assert_eq!(numbers(&log), [1, 2]);
}

/// The child is the thread that delivers, and ends when what forked returns there.
#[test]
fn p8_a_callback_that_forks_goes_on_in_the_parent_alone() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let observer = move |_: &Event<'_>| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            is_child();
        }
    };
    let log = small().observer(Arc::new(observer)).open(dir.path()).unwrap();
    let lsn = log.append(&1_u32.to_le_bytes()).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    log.on_durable(lsn, move |durable| {
        is_child();
        send.send(durable).unwrap();
    });
    receive.recv().unwrap().unwrap();
    log.append_durable(&2_u32.to_le_bytes()).unwrap();
    assert!(small().open(dir.path()).unwrap_err().is_locked());
    log.close().unwrap();
    assert!(told.load(Ordering::Relaxed) > 0);
    assert_eq!(numbers(&small().open(dir.path()).unwrap()), [1, 2]);
}
