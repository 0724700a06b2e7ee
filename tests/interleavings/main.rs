#![cfg(shuttle)]
//! The engine as it is shipped, under schedules that a model checker draws; see README.md.
//!
//! `DURALOG_SCHEDULES` says how many schedules each test tries, `DURALOG_SEED` where they begin,
//! `DURALOG_REPLAY` which one to repeat.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::mem_forget,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

mod bench;
mod close;
mod commit;
mod cut;
mod full;
mod notes;
mod observe;
mod read;
mod reader;
mod reset;
mod retain;
mod retention;
mod ticket;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

/// Runs a scenario under many schedules: half of them switch at random, half are those of PCT, which
/// seldom switches and so finds what needs one thread to stand still for long.
fn explore(scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = Config::new();
    config.silence_warnings = true; // of relaxed atomics, which are not what this looks for
    config.stack_size = 256 << 10;
    config.max_steps = MaxSteps::FailAfter(100_000); // a hang that is no deadlock
    if let Ok(schedule) = std::env::var("DURALOG_REPLAY") {
        let schedule: String = schedule.split_whitespace().collect(); // it is printed over lines
        Runner::new(ReplayScheduler::new_from_encoded(&schedule), config).run(scenario);
        return;
    }
    let (seed, schedules) = (number("DURALOG_SEED", 1), number("DURALOG_SCHEDULES", 6000));
    let each = schedules.div_ceil(2) as usize;
    run("random", RandomScheduler::new_from_seed(seed, each), config.clone(), scenario);
    run("PCT", PctScheduler::new_from_seed(seed, 4, each), config, scenario);
}

fn run(
    name: &'static str,
    scheduler: impl Scheduler + 'static,
    config: Config,
    scenario: impl Fn() + Send + Sync + 'static,
) {
    let tried = Tried { name, count: Arc::default() };
    let count = Arc::clone(&tried.count);
    Runner::new(scheduler, config).run(move || {
        count.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
}

/// Says how long it took to find a failure.
struct Tried {
    name: &'static str,
    count: Arc<AtomicUsize>,
}

impl Drop for Tried {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} schedule {} failed", self.name, self.count.load(Ordering::Relaxed));
        }
    }
}
