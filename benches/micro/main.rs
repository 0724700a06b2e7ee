//! Micro-benchmarks, each row beside its own floor, measured in the same run: `cargo bench --bench micro`, one group
//! by `cargo bench --bench micro append`. `DURALOG_BENCH_DIR` says on which disk.
//!
//! With threads (`t=8`) a time is that of one call as its thread sees it. Threads that wait for one lock each see
//! the wait of all: what all do in a second is the number of threads divided by that time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a program to be watched")]

mod append;
mod checkpoint;
mod commit;
mod floor;
mod frames;
mod open;
mod replay;

// Frames and checksums are private to the crate, and stay so: the same files, compiled once more.
#[path = "../../src/checksum.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only what is measured is called, and its tests run there"
)]
mod checksum;
#[path = "../../src/format/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only what is measured is called, and its tests run there"
)]
mod format;

fn main() {
    divan::main();
}
