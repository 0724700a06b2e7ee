//! Memory to encode into, one for each thread: an append of a value allocates nothing.

use std::cell::Cell;

/// What a thread keeps from one append to the next; a larger buffer is given back.
const KEPT: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with an empty buffer.
///
/// Taken, not borrowed: `f` calls the user's code, which may well append to another log.
pub(super) fn with<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // A thread that is ending has none any more.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let done = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.try_with(|kept| kept.set(buffer)).unwrap_or_default();
    }
    done
}
