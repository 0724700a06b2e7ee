//! Build a database on the log in an afternoon: chapters of five to ten minutes, in the order in which to read them.
//!
//! They are the Markdown files in `docs/guide`, also a book (`mdbook serve docs`). Each Rust block is compiled and run
//! as a test of this crate, each console block is run as a test of the command line.

#[doc = include_str!("../docs/guide/01-start.md")]
pub mod ch01_start {}

#[doc = include_str!("../docs/guide/02-policy.md")]
pub mod ch02_policy {}

#[doc = include_str!("../docs/guide/03-sizing.md")]
pub mod ch03_sizing {}

#[doc = include_str!("../docs/guide/04-database.md")]
pub mod ch04_database {}

#[doc = include_str!("../docs/guide/05-consumers.md")]
pub mod ch05_consumers {}

#[doc = include_str!("../docs/guide/06-processes.md")]
pub mod ch06_processes {}

#[doc = include_str!("../docs/guide/07-async.md")]
pub mod ch07_async {}

#[doc = include_str!("../docs/guide/08-damage.md")]
pub mod ch08_damage {}

#[doc = include_str!("../docs/guide/09-shipping.md")]
pub mod ch09_shipping {}

#[doc = include_str!("../docs/guide/10-measuring.md")]
pub mod ch10_measuring {}

#[doc = include_str!("../docs/guide/11-comparison.md")]
pub mod ch11_comparison {}

#[doc = include_str!("../docs/guide/12-environment.md")]
pub mod ch12_environment {}
