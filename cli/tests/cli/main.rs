//! The contract of the command line, fact by fact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod append;
mod bench;
mod checkpoint;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod pipes;
mod read;
mod refusal;
mod usage;
