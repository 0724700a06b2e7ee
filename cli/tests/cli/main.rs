//! The contract of the command line, fact by fact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests"
)]

mod append;
mod bench;
mod checkpoint;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod look;
mod pipes;
mod port;
mod read;
mod refusal;
mod repair;
mod tail;
mod usage;
