//! P7 on real file systems: a full disk, a segment truncated by someone else and an unreadable sector are
//! errors, never signals, and lose nothing that was acknowledged.
//!
//! What could end in a signal or a hang runs in a child: this binary again, where [`child`] is the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test"
)]

mod brim;
mod disk;
mod failing;
mod full;
mod process;
mod reserve;
mod served;
mod shrunk;
mod truncated;
mod unreadable;
mod zero;

/// What a child does, when one is asked for; else nothing.
#[test]
fn child() {
    let Some(task) = process::task() else { return };
    match task.name.as_str() {
        "failing" => failing::child(&task),
        "full" => full::child(&task),
        "look" => unreadable::look(&task),
        "reserve" => reserve::child(&task),
        "serve" => served::child(&task),
        "truncated" => truncated::child(&task),
        "shrunk" => shrunk::child(&task),
        "zero" => zero::child(&task),
        "write" => unreadable::write(&task),
        other => panic!("no such task: {other}"),
    }
}
