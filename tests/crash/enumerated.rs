//! Small histories, wholly: every call at which the power can go, and there every state that the disk may be in.

use duralog::sim::SimDisk;
use duralog::{SyncMethod, WriteMethod};

use super::history::{Op, Run, Way};
use super::model::{End, Model};

/// More states than this at one cut would be no small case.
const LIMIT: usize = 20_000;

fn way(write: WriteMethod) -> Way {
    Way { write, sync: SyncMethod::Fdatasync, spare: 1, pages: 4 }
}

fn recover(way: Way, disk: SimDisk, model: &Model) -> Option<Run> {
    let mut run = Run::new(way, disk);
    run.model = model.clone();
    let log = match way.open(&run.disk) {
        Ok(log) => log,
        Err(_) if run.disk.is_off() => return None,
        Err(error) => panic!("open after a power cut: {error}"),
    };
    run.log = run.model.found(&log, End::PowerCut).then_some(log);
    run.log.is_some().then_some(run)
}

/// The state is sound, and the log goes on from it.
fn look(way: Way, state: SimDisk, model: &Model) {
    let mut run = recover(way, state, model).unwrap();
    run.number = 1000;
    run.live(&[Op::Durable(20), Op::Append(9)]);
    run.log = None;
    recover(way, run.disk.crash(1), &run.model).unwrap();
}

/// Cuts and states.
fn enumerate(write: WriteMethod, script: &[Op]) -> (u64, usize) {
    let (way, mut states) = (way(write), 0);
    for cut in 1.. {
        let mut run = Run::new(way, SimDisk::new(7));
        run.disk.cut_power_at(cut);
        run.log = way.open(&run.disk).ok();
        run.live(script);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        let finished = !run.disk.is_off();
        run.disk.cut_power();
        run.log = None;
        let here = run.disk.crash_each(LIMIT, |state| look(way, state, &run.model));
        assert!(here < LIMIT, "cut {cut} of {script:?} has {here} states and more");
        states += here;
        if finished {
            return (cut, states);
        }
    }
    unreachable!()
}

fn scripts() -> Vec<(&'static str, Vec<Op>)> {
    use Op::*;
    vec![
        ("a log is made", vec![Durable(30)]),
        ("commits and a tail", vec![Append(10), Append(500), Commit, Append(40), Append(700)]),
        ("a batch", vec![Durable(8), Batch(vec![300, 300, 300]), Append(8)]),
        ("a roll", vec![Durable(60), Roll, Append(60), Commit, Append(5)]),
        ("the background", vec![Durable(60), Roll, Step, Durable(60), Step, Append(1)]),
        (
            "a checkpoint that removes",
            vec![Durable(90), Roll, Durable(80), Roll, Durable(70), Step, Checkpoint(255), Step],
        ),
        (
            "a checkpoint that recycles",
            vec![
                Durable(90),
                Roll,
                Durable(90),
                Step,
                Checkpoint(255),
                Step,
                Roll,
                Durable(90),
                Step,
            ],
        ),
        ("a cut", vec![Append(40), Append(50), Commit, Append(60), Truncate(100), Durable(70)]),
        (
            "a cut across segments",
            vec![Durable(40), Roll, Durable(50), Append(9), Truncate(10), Durable(7)],
        ),
        ("notes", vec![Durable(40), Metadata(20), Ack(0, 0), Commit, Ack(0, 255), Metadata(9)]),
        (
            "notes in a segment that goes",
            vec![
                Durable(40),
                Metadata(20),
                Ack(1, 0),
                Roll,
                Durable(30),
                Step,
                CheckpointToSlowest,
            ],
        ),
        (
            "an archive",
            vec![Durable(40), Archived(0), Roll, Durable(30), Checkpoint(255), Archived(255), Step],
        ),
        (
            "notes in what is cut",
            vec![Durable(9), Append(50), Metadata(20), Truncate(0), Durable(7)],
        ),
        (
            "a reset",
            vec![Durable(40), Roll, Durable(50), Step, Append(9), ResetTo(2), Append(7), Commit],
        ),
        ("a reset to within a ready window", vec![Durable(40), Step, ResetTo(3), Durable(7), Roll]),
        (
            "all is truncated",
            vec![Durable(40), Roll, Append(9), TruncateAll, Append(7), Commit, TruncateAll],
        ),
        (
            "a reset that recycles",
            vec![Durable(90), Roll, Durable(90), Step, Checkpoint(255), ResetTo(9), Durable(8)],
        ),
        ("a clean close", vec![Durable(40), Append(6), Close, Durable(50), Close]),
    ]
}

#[test]
fn every_state_of_small_histories_is_sound() {
    for write in [WriteMethod::Mmap, WriteMethod::Pwrite, WriteMethod::Auto] {
        for (name, script) in scripts() {
            let (cuts, states) = enumerate(write, &script);
            eprintln!("{name}, {write:?}: {states} states at {cuts} calls");
        }
    }
}

#[test]
fn every_state_of_a_power_cut_during_recovery_is_sound() {
    let script = [Op::Durable(40), Op::Roll, Op::Append(50), Op::Append(60)];
    let (way, mut states) = (way(WriteMethod::Mmap), 0);
    let mut run = Run::new(way, SimDisk::new(7));
    run.log = way.open(&run.disk).ok();
    run.live(&script);
    run.disk.cut_power();
    run.log = None;
    let model = run.model;
    run.disk.crash_each(LIMIT, |state| {
        for cut in 1.. {
            // The same state anew: recovery writes.
            let disk = state.crash(0);
            disk.cut_power_at(cut);
            let recovered = recover(way, disk.clone(), &model);
            let finished = recovered.is_some();
            // What an opening that got through has told is owed from then on.
            let owed = recovered.map_or_else(|| model.clone(), |run| run.model.clone());
            states += disk.crash_each(LIMIT, |state| drop(recover(way, state, &owed).unwrap()));
            if finished {
                return;
            }
        }
    });
    eprintln!("{states} states of recoveries");
}
