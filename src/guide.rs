//! Build a database on the log in an afternoon: chapters of five to ten minutes, in the order in which to read them.
//!
//! They are the Markdown files in `docs/guide`, also a book (`mdbook serve docs`). Each Rust block is compiled and run
//! as a test of this crate, each console block is run as a test of the command line.

#[doc = include_str!("../docs/guide/01-start.md")]
pub mod ch01_start {}
