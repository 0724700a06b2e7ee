//! The power goes at any call of any history, also while the log is being recovered; the disk then holds
//! any of the states that it may; the log goes on, and the power goes again.

use std::sync::atomic::{AtomicU64, Ordering};

use duralog::sim::SimDisk;
use proptest::prelude::*;

use super::history::{Op, Run, Way};
use super::model::End;
use super::strategies::{op, way};

#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) ops: Vec<Op>,
    /// The call at which it ends, counted from its beginning, opening included.
    pub(crate) cut: u64,
    /// A killed process: the cache survives.
    pub(crate) kill: bool,
    pub(crate) draw: u64,
}

pub(crate) fn life() -> impl Strategy<Value = Life> {
    let ops = proptest::collection::vec(op(), 1..25);
    let cut = prop_oneof![1 => 1..40u64, 3 => 20..400u64];
    let kill = prop_oneof![4 => Just(false), 1 => Just(true)];
    (ops, cut, kill, any::<u64>()).prop_map(|(ops, cut, kill, draw)| Life { ops, cut, kill, draw })
}

/// How many states each power cut is followed into; one of them goes on.
const STATES: u64 = 6;

fn open(run: &mut Run, end: End) {
    match run.way.open(&run.disk) {
        Ok(log) => {
            let seen = run.model.found(&log, end);
            assert!(seen || run.disk.is_off());
            run.log = seen.then_some(log);
        }
        Err(error) => assert!(run.disk.is_off(), "open after {end:?}: {error}"),
    }
}

/// A power cut after recovery finds what recovery told; and recovering again tells the same.
fn look_twice(way: Way, disk: &SimDisk, model: &super::model::Model, draw: u64) {
    let mut run = Run::new(way, disk.clone());
    run.model = model.clone();
    open(&mut run, End::PowerCut);
    let again = run.disk.crash(draw);
    run.log = None;
    run.disk = again;
    open(&mut run, End::PowerCut);
    assert_eq!(run.disk.violations(), Vec::<String>::new());
}

pub(crate) fn survive(way: Way, lives: Vec<Life>, states: &AtomicU64) {
    let mut run = Run::new(way, SimDisk::new(lives.first().map_or(0, |life| life.draw)));
    let mut end = End::PowerCut;
    for life in lives {
        run.disk.cut_power_at(run.disk.calls() + life.cut);
        open(&mut run, end);
        let opened = run.log.is_some();
        run.live(&life.ops);
        assert!(run.errors.is_empty(), "errors without a fault: {:?}", run.errors);
        run.disk.cut_power();
        assert_eq!(run.disk.violations(), Vec::<String>::new());
        run.log = None;
        if life.kill {
            run.disk.restart();
            // If it was not even opened, what the power cut before took is still to be found out.
            end = if opened { End::Kill } else { end };
            states.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        for n in 0..STATES {
            look_twice(way, &run.disk.crash(life.draw.wrapping_add(n)), &run.model, life.draw ^ n);
        }
        states.fetch_add(2 * STATES + 1, Ordering::Relaxed);
        run.disk = run.disk.crash(life.draw);
        end = End::PowerCut;
    }
    open(&mut run, end);
}

#[test]
fn p1_p2_p3_p5_p9_p10_hold_after_power_cuts_at_any_call() {
    let (states, started) = (AtomicU64::new(0), std::time::Instant::now());
    let lives = (way(), proptest::collection::vec(life(), 1..5));
    super::try_many("p1_p2_p3_p5_p9_p10", 1600, &lives, |(way, lives)| {
        survive(way, lives, &states)
    });
    let (states, seconds) = (states.into_inner(), started.elapsed().as_secs_f64());
    eprintln!("{states} crash states, {:.0} a second", states as f64 / seconds);
}
