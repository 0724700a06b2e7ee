//! Group commit in a model: `cargo bench --bench group_commit`. How long should a leader wait for company before it
//! syncs, on disks and machines that are not here? The rule of `src/log/gather.rs` is included as it is shipped; it is
//! held against a leader that never waits, against the rule that was there before, and against one that knows who will
//! come and for how long it is best to wait for them.
//!
//! **What is assumed.** A core runs one thread until that yields, sleeps or goes to the disk; there is one queue for all
//! cores. A commit is an append (100 ns under a lock), a look under the lock of the group (60 ns), then the lead or 64
//! yields, 8 on a slow disk (0.4 us, or 0.9 us with a switch) and sleep. A wake costs the waker 2.8 us and comes through 2 us later, one in
//! fifty 20 us; a sync wakes one sleeper, and each unlock after that the next, as parking_lot does. A sync takes 4 us of the
//! leader's core and then the flush: 20 us to 10 ms, lognormal (0.2). What is drawn comes from a fixed seed.
//! These costs are those of the machine on which the project was measured; there the model gives the records per sync of
//! the rule that was there before as they were measured: 4.5 with 8 threads, 32 with 64.
//!
//! **What it cannot say.** Nothing of other processes, which on a busy machine take a core for milliseconds; of caches and
//! of locks that are fought for; of a scheduler that favours some threads; of a disk that slows down under load, or is
//! faster for a larger group; of rolls and background work. Take the ratios between rules, and those only where they are
//! clear. What holds on real hardware is for `benches/peers` to say.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a program to be watched"
)]

#[cfg_attr(test, allow(dead_code, reason = "its unit tests run in the library"))]
#[path = "../src/log/gather.rs"]
mod gather;
#[path = "group_commit/world.rs"]
mod world;

use world::{Load, Rule, Setting, Tally, Time, World};

const CORES: [usize; 3] = [2, 8, 64];
const FLUSHES: [Time; 4] = [20_000, 100_000, 1_000_000, 10_000_000];
/// Up to which part of a sync the oracle may wait: the best for each case, found by trying.
const PARTS: [f64; 6] = [0.0, 0.1, 0.25, 0.5, 1.0, 2.0];

/// Commits a second of each rule.
type Rates = [f64; 4];

fn rate(tally: &Tally) -> f64 {
    tally.commits as f64 / tally.seconds
}

fn micros(latencies: &[Time], part: f64) -> f64 {
    let at = (latencies.len().saturating_sub(1) as f64 * part) as usize;
    latencies.get(at).map_or(0.0, |ns| *ns as f64 / 1000.0)
}

/// Each rule on the same case, a line each.
fn compare(load: Load, cores: usize, flush: Time, threads: usize) -> Rates {
    let few = flush > 1_000_000;
    let syncs = match load {
        Load::Closed | Load::Think(_) | Load::Random(_) => {
            if few {
                200
            } else {
                500
            }
        }
        Load::Bursts(_) => {
            if few {
                1000
            } else {
                3000
            }
        }
    };
    let run = |rule| World::run(Setting { rule, load, cores, threads, flush, syncs });
    let best = PARTS.iter().map(|part| run(Rule::Oracle(*part)));
    let best = best.max_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or_default();
    let runs = [run(Rule::Plain), run(Rule::Fixed), run(Rule::Adaptive), best];
    let rates = [0, 1, 2, 3].map(|i| rate(&runs[i]));
    for (name, mut tally) in ["plain", "fixed", "adaptive", "oracle"].into_iter().zip(runs) {
        tally.latencies.sort_unstable();
        let per_sync = 1.0 / tally.syncs.max(1) as f64;
        print!(
            "{cores:>5} {:>6} {threads:>7} {name:<8} {:>9.0} {:>5.2} {:>6.1} {:>7.0} {:>7.0} {:>7.1}",
            flush / 1000,
            rate(&tally),
            rate(&tally) / rates[0],
            tally.commits as f64 * per_sync,
            micros(&tally.latencies, 0.5),
            micros(&tally.latencies, 0.99),
            tally.gathered as f64 * per_sync / 1000.0
        );
        if let Load::Bursts(_) = load {
            let each = tally.lone_waited as f64 / tally.lone.max(1) as f64 / 1000.0;
            print!(" {:>7} {each:>7.3} {:>7.1}", tally.lone, tally.lone_longest as f64 / 1000.0);
        }
        println!();
    }
    rates
}

fn table(title: &str, load: Load, threads: &[usize]) {
    println!("\n{title}\n");
    print!("cores  flush threads rule     commits/s plain rec/sync  p50 us  p99 us gather us");
    println!("{}", if let Load::Bursts(_) = load { " alone  wait us longest" } else { "" });
    let mut all: Vec<Rates> = Vec::new();
    for cores in CORES {
        for flush in FLUSHES {
            all.extend(threads.iter().map(|threads| compare(load, cores, flush, *threads)));
        }
    }
    let mean =
        |i: usize| (all.iter().map(|r| (r[i] / r[0]).ln()).sum::<f64>() / all.len() as f64).exp();
    let worst = |i: usize| all.iter().map(|r| r[i] / r[0]).fold(f64::INFINITY, f64::min);
    println!("\nof plain, geometric mean and worst case of {}:", all.len());
    for (name, i) in [("fixed", 1), ("adaptive", 2), ("oracle", 3)] {
        println!("{name:<8} {:>5.2} {:>5.2}", mean(i), worst(i));
    }
}

fn main() {
    // Cargo passes --bench; a run with --test only shows that it starts.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    table("Closed loop: each client commits again at once", Load::Closed, &[1, 2, 8, 64, 256]);
    table("Closed loop, each client thinks for a tenth of a sync", Load::Think(0.1), &[2, 8, 64]);
    table("Each client thinks at random, on average for a sync", Load::Random(1.0), &[1, 8, 64]);
    table("One client in a loop, bursts of others: a commit each", Load::Bursts(1), &[2, 9, 65]);
    table("The same, 20 commits each", Load::Bursts(20), &[2, 9, 65]);
}
