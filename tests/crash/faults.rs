//! Every call that a log makes of its disk fails in turn, once or from then on, with each error that fits it; a
//! write also after a part of it; and the disk is full from any step on.
//! P6: after a failed sync nothing more is acknowledged. P7: an error, never a panic; nothing committed is
//! lost; after `Full` the log goes on once there is room. P10: nothing needed is given up. Afterwards
//! the log opens and goes on; and what failed before anything was changed never ends it.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Log, Lsn, SyncMethod, WriteMethod};

use super::history::{Op, Run, Way};
use super::model::End;

const EPERM: i32 = 1;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ENOLCK: i32 = 37;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;
const ESTALE: i32 = 116;
const EDQUOT: i32 = 122;

/// As the manual pages have them, and ESTALE of a file system that went away.
fn errors_of(call: Call) -> &'static [i32] {
    match call {
        Call::Names => &[EIO, ENOMEM, EACCES, ESTALE],
        Call::Open => &[EMFILE, ENFILE, EIO, EACCES, ENOMEM, EINTR, EROFS],
        Call::Create => &[ENOSPC, EDQUOT, EMFILE, ENFILE, EROFS, EIO, EACCES, ENOMEM, EINTR],
        Call::Rename => &[EIO, ENOSPC, EDQUOT, EROFS, EACCES, EBUSY, ENOMEM],
        Call::Remove => &[EIO, ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EBUSY, ENOMEM],
        Call::SyncDirectory => &[EIO, ENOSPC, EDQUOT, EINTR, EROFS],
        Call::Lock => &[EINTR, ENOLCK, EIO],
        Call::Status => &[EIO, ENOMEM, ESTALE],
        Call::Blocks => &[EIO, ENOMEM, EROFS],
        Call::Read => &[EIO, EINTR, EAGAIN, ENOMEM, ESTALE],
        Call::Write => &[EIO, ENOSPC, EDQUOT, EINTR, EFBIG, EPERM, EROFS],
        Call::Allocate => &[EIO, ENOSPC, EDQUOT, EINTR, EFBIG, EOPNOTSUPP, EPERM, EROFS],
        Call::Sync => &[EIO, ENOSPC, EDQUOT, EINTR, EROFS],
        Call::DropCache => &[EINVAL, EIO],
        Call::PunchHole => &[EOPNOTSUPP, ENOSPC, EDQUOT, EIO, EINTR, EPERM],
        Call::Map => &[ENOMEM, EAGAIN, ENFILE, ENODEV, EACCES, EPERM],
        // ENOSYS stands for a kernel without the call: the file is read instead.
        Call::Populate => &[EFAULT, EIO, ENOMEM, EINTR, ENOSYS],
        Call::Random => &[EINTR, EAGAIN, ENOSYS],
        _ => &[EIO],
    }
}

/// Whether the log may end by it, and why. By all else it goes on: with an error for the caller that needed the call, or
/// none.
fn may_end(way: Way, call: Call, errno: i32) -> bool {
    let is_short = [EMFILE, ENFILE, ENOMEM, EAGAIN].contains(&errno);
    match call {
        // Part of the bytes may be in the file, or the disk fails.
        Call::Write => true,
        // No one knows what the disk has (P6).
        Call::Sync | Call::SyncDirectory => true,
        // Of a manifest: which of the two stands is not known.
        Call::Rename => true,
        // Without an answer no one knows whether the sync before it made the blocks durable.
        Call::Blocks => true,
        // A sector that cannot be read lies where a store would touch it next, and nothing but stores was asked for.
        Call::Read => way.write == WriteMethod::Mmap && !is_short,
        _ => false,
    }
}

/// The ways of writing.
const WAYS: [Way; 4] = [
    Way { write: WriteMethod::Mmap, sync: SyncMethod::Fdatasync, spare: 1, pages: 4 },
    Way { write: WriteMethod::Mmap, sync: SyncMethod::Msync, spare: 2, pages: 4 },
    Way { write: WriteMethod::Pwrite, sync: SyncMethod::Fdatasync, spare: 0, pages: 4 },
    Way { write: WriteMethod::Auto, sync: SyncMethod::Fdatasync, spare: 1, pages: 4 },
];

/// Each point in one of the ways, by turns; with `DURALOG_CASES` set, in all.
fn is_for(way: Way, point: u64) -> bool {
    let turn = match (way.write, way.sync) {
        (WriteMethod::Mmap, SyncMethod::Fdatasync) => 0,
        (WriteMethod::Mmap, _) => 1,
        (WriteMethod::Pwrite, _) => 2,
        _ => 3,
    };
    point % 4 == turn || std::env::var_os("DURALOG_CASES").is_some()
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
        Metadata(100),
        Ack(0, 100),
        Durable(5000),
        Archived(100),
        Roll,
        Read(0),
        Append(100),
        Commit,
        Ack(0, 150),
        Truncate(200),
        Step,
        CheckpointToSlowest,
        NotArchived,
        Step,
        Durable(30),
        ResetTo(3),
        Durable(5000),
        Append(20),
        TruncateAll,
        Durable(60),
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

/// What goes wrong, in words and as an order; that is given before this operation, the opening being 0.
struct Trouble<'a> {
    name: String,
    at: usize,
    order: &'a dyn Fn(&SimDisk),
    /// It happens once.
    once: bool,
    /// The disk is full, and that is all.
    full: bool,
    /// The log may end by it.
    may_end: bool,
}

impl<'a> Trouble<'a> {
    fn of(
        way: Way,
        fault: &Fault,
        order: &'a dyn Fn(&SimDisk),
        once: bool,
        may_end: bool,
    ) -> Trouble<'a> {
        Trouble { name: format!("{fault:?} of {way:?}"), at: 0, order, once, full: false, may_end }
    }
}

/// The log opens on this disk, has what is owed, and goes on.
fn look(run: &Run, disk: SimDisk, fault: &str) {
    disk.set_capacity(None);
    let mut after = Run::new(run.way, disk);
    (after.model, after.number) = (run.model.clone(), 1000);
    let log = run.way.open(&after.disk).unwrap_or_else(|error| panic!("after {fault}: {error}"));
    assert!(after.model.found(&log, End::PowerCut));
    after.log = Some(log);
    go_on(&mut after, fault);
    after.log = None;
    let log = run.way.open(&after.disk.crash(9)).unwrap();
    assert!(after.model.found(&log, End::PowerCut));
}

/// Over a roll, with whatever the background owes; without an error.
fn go_on(run: &mut Run, fault: &str) {
    let before = run.errors.len();
    run.live(&[Op::Durable(50), Op::Append(6000), Op::Step, Op::Durable(6000), Op::Step]);
    assert!(run.errors.len() == before, "after {fault}: {:?}", &run.errors[before..]);
}

/// P6: whatever is asked of a log that said it is poisoned, nothing more is acknowledged.
fn stays_poisoned(log: &Log, durable: Lsn) {
    assert!(log.append(b"more").unwrap_err().is_poisoned());
    assert!(log.append_batch(&[b"more"]).unwrap_err().is_poisoned());
    assert!(log.append_durable(b"more").unwrap_err().is_poisoned());
    assert!(log.commit().unwrap_err().is_poisoned());
    assert!(log.commit_to(log.head()).unwrap_err().is_poisoned());
    assert!(log.roll().unwrap_err().is_poisoned());
    assert!(log.step().unwrap_err().is_poisoned());
    assert!(log.checkpoint(log.durable()).unwrap_err().is_poisoned());
    assert!(log.truncate_after(log.head()).unwrap_err().is_poisoned());
    assert_eq!(log.durable(), durable);
}

/// Once more through the same history with this trouble; whether it came.
fn suffer(way: Way, trouble: &Trouble<'_>) -> bool {
    let mut run = Run::new(way, SimDisk::new(3));
    let fault = &trouble.name;
    let (mut struck, mut durable) = (0, None);
    for (n, op) in [Op::Read(0)].into_iter().chain(script()).enumerate() {
        if n == trouble.at {
            (trouble.order)(&run.disk);
        }
        if run.log.is_none() {
            // At the beginning, and where opening it failed.
            match way.open(&run.disk) {
                Ok(log) => run.log = run.model.found(&log, End::PowerCut).then_some(log),
                Err(error) => run.errors.push(error),
            }
            run.poisoned = false;
        }
        run.live(&[op]);
        assert!(!run.poisoned || trouble.may_end, "{fault}: {:?}", run.errors);
        match &run.log {
            Some(log) if run.poisoned => stays_poisoned(log, *durable.get_or_insert(log.durable())),
            _ => durable = None,
        }
        // A power cut right after the failure; later the cache may have healed what it did.
        if run.disk.struck() > struck && struck < 2 {
            struck = run.disk.struck();
            (0..2).for_each(|draw| look(&run, run.disk.crash(draw), fault));
        }
    }
    assert_eq!(run.disk.violations(), Vec::<String>::new());
    for error in &run.errors {
        assert!(!error.is_corrupt(), "{fault} is told as damage: {error}");
    }
    // A full disk is no end.
    let full = run.errors.iter().all(|error| error.is_full() && !error.is_poisoned());
    assert!(!trouble.full || full, "{fault}: {:?}", run.errors);
    // What fails once is one error, but for those that say that the log has ended.
    let told = run.errors.iter().filter(|error| !error.is_poisoned()).count();
    assert!(!trouble.once || told <= 1, "{fault}: {:?}", run.errors);
    // A power cut at the end, and a process that comes again on the same cache.
    (2..4).for_each(|draw| look(&run, run.disk.crash(draw), fault));
    run.disk.mend();
    run.disk.set_capacity(None);
    if let Some(log) = run.log.take() {
        if run.poisoned {
            assert!(log.close().unwrap_err().is_poisoned(), "{fault}");
        } else {
            // P7: it was not said to be at an end, so it goes on.
            run.log = Some(log);
            go_on(&mut run, fault);
        }
    }
    run.log = None;
    look(&run, run.disk.clone(), fault);
    run.disk.struck() > 0 || trouble.full && !run.errors.is_empty()
}

/// The history without trouble.
fn at_peace(way: Way) -> SimDisk {
    let mut run = Run::new(way, SimDisk::new(3));
    run.log = way.open(&run.disk).ok();
    run.live(&script());
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    run.disk
}

/// So many that break a promise say enough.
const FEW: usize = 5;

/// Tries all of them; those that break a promise, by name, at the end.
#[derive(Default)]
struct Trials {
    points: usize,
    struck: usize,
    broken: Vec<String>,
}

impl Trials {
    fn suffer(&mut self, way: Way, trouble: &Trouble<'_>) {
        if self.broken.len() == FEW {
            return;
        }
        self.points += 1;
        let tried = std::panic::AssertUnwindSafe(|| suffer(way, trouble));
        match std::panic::catch_unwind(tried) {
            Ok(struck) => self.struck += usize::from(struck),
            Err(_) => self.broken.push(trouble.name.clone()),
        }
    }

    /// Once, and from then on.
    fn order(&mut self, way: Way, fault: Fault, may_end: bool) {
        for (fault, once) in [(fault.clone(), true), (fault.forever(), false)] {
            let order = |disk: &SimDisk| disk.order(fault.clone());
            self.suffer(way, &Trouble::of(way, &fault, &order, once, may_end));
        }
    }
}

/// In each way of writing, side by side; the points tried, and those that struck.
fn in_all_ways(tries: impl Fn(Way, &mut Trials) + Sync) -> (usize, usize) {
    let one = |way| {
        let mut trials = Trials::default();
        tries(way, &mut trials);
        trials
    };
    let done = std::thread::scope(|scope| {
        WAYS.map(|way| scope.spawn(move || one(way))).map(|thread| thread.join().unwrap())
    });
    let broken: Vec<_> = done.iter().flat_map(|trials| &trials.broken).collect();
    assert!(broken.is_empty(), "{} broke a promise: {broken:#?}", broken.len());
    done.iter().fold((0, 0), |sum, trials| (sum.0 + trials.points, sum.1 + trials.struck))
}

#[test]
fn p6_p7_p10_hold_whichever_call_fails() {
    let (points, struck) = in_all_ways(|way, trials| {
        // How often each call is made when all goes well.
        let disk = at_peace(way);
        for call in Call::ALL {
            for nth in (1..=disk.count(call)).filter(|nth| is_for(way, *nth)) {
                for errno in errors_of(call) {
                    let may_end = may_end(way, call, *errno);
                    trials.order(way, Fault::new(call, nth, *errno), may_end);
                }
            }
        }
    });
    assert_eq!(points, struck, "some faults never struck");
    eprintln!("{points} fault points");
}

/// A part is written, then the disk is full.
#[test]
fn p2_p7_hold_after_a_short_write() {
    let (points, struck) = in_all_ways(|way, trials| {
        let disk = at_peace(way);
        for nth in 1..=disk.count(Call::Write) {
            for (pages, errno) in [(1, ENOSPC), (2, ENOSPC), (1, EDQUOT), (2, EIO)] {
                trials.order(way, Fault::new(Call::Write, nth, errno).after_pages(pages), true);
            }
        }
    });
    assert_eq!(points, struck, "some faults never struck");
    eprintln!("{points} short writes");
}

/// Every call that needs room fails from any step on, the room being so many pages more or less.
#[test]
fn p7_a_disk_that_is_full_from_any_step_on_is_no_end() {
    let (points, struck) = in_all_ways(|way, trials| {
        for at in (0..=script().len()).filter(|at| is_for(way, *at as u64)) {
            for pages in (0..12).chain([16, 24, 129, 134, 140]) {
                let order = |disk: &SimDisk| disk.set_capacity(Some(disk.used() + pages * 4096));
                let name = format!("a disk with room for {pages} pages from step {at} on, {way:?}");
                let (once, full, may_end) = (false, true, false);
                trials.suffer(way, &Trouble { name, at, order: &order, once, full, may_end });
            }
        }
    });
    eprintln!("{points} full disks, {struck} of them met");
    assert!(struck > points / 10);
}
