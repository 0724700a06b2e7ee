//! The log on a simulated disk that loses power, fails and rots.
//!
//! `DURALOG_CASES` says how many random cases each test tries, `DURALOG_SEED` where they begin; a failure
//! prints the command that repeats it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod bit_rot;
mod enumerated;
mod evidence;
mod faults;
mod found;
mod found_full;
mod found_zero;
mod history;
mod killed;
mod model;
mod notes;
mod power_cut;
mod retention;
mod strategies;
mod unwritten;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

/// Tries `cases` random values, the same ones each time; a failure is shrunk, and says how to repeat it.
fn try_many<S: Strategy>(test: &str, cases: u64, strategy: &S, check: impl Fn(S::Value)) {
    let (seed, cases) = (number("DURALOG_SEED", 1), number("DURALOG_CASES", cases));
    for seed in seed..seed + cases.div_ceil(100) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config =
            Config { cases: 100.min(cases as u32), failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let tried = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
            check(value);
            Ok::<(), TestCaseError>(())
        });
        if let Err(TestError::Fail(why, least)) = tried {
            panic!(
                "{why}\nleast case: {least:#?}\nrepeat: DURALOG_SEED={seed} DURALOG_CASES=100 cargo test --test crash {test}"
            );
        }
    }
}
