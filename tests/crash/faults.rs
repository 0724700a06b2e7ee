//! Every call that a log makes of its disk fails in turn, once or from then on, with the errors that fit it.
//! P6: after a failed sync nothing more is acknowledged. P7: an error, never a panic; nothing committed is
//! lost. P10: nothing needed is given up. Afterwards the log opens and goes on.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{SyncMethod, WriteMethod};

use super::history::{Op, Run, Way};
use super::model::End;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EOPNOTSUPP: i32 = 95;
const EDQUOT: i32 = 122;

fn errors_of(call: Call) -> &'static [i32] {
    match call {
        Call::Sync => &[EIO, ENOSPC, EDQUOT, EINTR, EROFS],
        Call::SyncDirectory => &[EIO, EINTR, ENOSPC],
        Call::Write | Call::Allocate => &[EIO, ENOSPC, EDQUOT],
        Call::Create => &[ENOSPC, EMFILE, EROFS, EDQUOT],
        Call::Rename | Call::Remove => &[EIO, ENOSPC, EROFS],
        Call::Open => &[EMFILE, EIO, EACCES],
        Call::Map => &[ENOMEM],
        Call::PunchHole => &[EOPNOTSUPP, ENOSPC, EIO],
        Call::Lock => &[EINTR],
        _ => &[EIO],
    }
}

fn script() -> Vec<Op> {
    use Op::*;
    vec![
        Durable(40),
        Append(3000),
        Batch(vec![9, 4000, 9]),
        Commit,
        Append(6000),
        Step,
        // A commit over a roll: two segments to sync.
        Append(5000),
        Append(6000),
        Append(300),
        Commit,
        Step,
        Durable(6000),
        Step,
        Checkpoint(200),
        Step,
        Durable(5000),
        Roll,
        Read(0),
        Append(100),
        Commit,
        Truncate(200),
        Step,
        Durable(30),
        Reopen,
        Durable(5000),
        CommitTo(255),
        Checkpoint(250),
        Durable(7000),
        Close,
        Durable(20),
        Durable(7000),
    ]
}

/// The log opens on this disk, has what is owed, and goes on.
fn look(run: &Run, disk: SimDisk, fault: &Fault) {
    let mut after = Run::new(run.way, disk);
    (after.model, after.number) = (run.model.clone(), 1000);
    let log = run.way.open(&after.disk).unwrap_or_else(|error| panic!("after {fault:?}: {error}"));
    assert!(after.model.found(&log, End::PowerCut));
    after.log = Some(log);
    after.live(&[Op::Durable(50), Op::Append(6000), Op::Durable(6000)]);
    assert!(after.errors.is_empty(), "after {fault:?}: {:?}", after.errors);
    after.log = None;
    let log = run.way.open(&after.disk.crash(9)).unwrap();
    assert!(after.model.found(&log, End::PowerCut));
}

/// Once more through the same history with this fault; whether it struck.
fn suffer(way: Way, fault: &Fault) -> bool {
    let mut run = Run::new(way, SimDisk::new(3));
    run.disk.order(fault.clone());
    match way.open(&run.disk) {
        Ok(log) => run.log = Some(log),
        Err(error) => run.errors.push(error),
    }
    let mut struck = run.disk.struck();
    for op in script() {
        run.live(&[op]);
        // A power cut right after the failure; later the cache may have healed what it did.
        if run.disk.struck() > struck && struck < 2 {
            struck = run.disk.struck();
            (0..2).for_each(|draw| look(&run, run.disk.crash(draw), fault));
        }
    }
    if let Some(log) = run.log.take().filter(|_| run.poisoned) {
        // P6: no retry turns the failure into success.
        assert!(log.commit().unwrap_err().is_poisoned());
        assert!(log.append(b"more").unwrap_err().is_poisoned());
        assert!(log.checkpoint(log.durable()).is_err());
    }
    for error in &run.errors {
        assert!(!error.is_corrupt(), "{fault:?} is told as damage: {error}");
    }
    assert_eq!(run.disk.violations(), Vec::<String>::new());
    // A power cut at the end, and a process that comes again on the same cache.
    (2..4).for_each(|draw| look(&run, run.disk.crash(draw), fault));
    run.disk.mend();
    look(&run, run.disk.clone(), fault);
    run.disk.struck() > 0
}

#[test]
fn p6_p7_p10_hold_whichever_call_fails() {
    let (mut points, mut struck) = (0, 0);
    for (write, spare) in [(WriteMethod::Mmap, 1), (WriteMethod::Pwrite, 0)] {
        let way = Way { write, sync: SyncMethod::Fdatasync, spare, pages: 4 };
        // How often each call is made when all goes well.
        let disk = SimDisk::new(3);
        let mut run = Run::new(way, disk.clone());
        run.log = way.open(&disk).ok();
        run.live(&script());
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        for call in Call::ALL {
            for nth in 1..=disk.count(call) {
                for errno in errors_of(call) {
                    for fault in
                        [Fault::new(call, nth, *errno), Fault::new(call, nth, *errno).forever()]
                    {
                        points += 1;
                        struck += u64::from(suffer(way, &fault));
                    }
                }
            }
        }
    }
    assert_eq!(points, struck, "some faults never struck");
    eprintln!("{points} fault points");
}
