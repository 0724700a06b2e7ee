//! Any operations, power cuts, kills, faults and a full disk, against the model of the crash tests.

use arbitrary::{Arbitrary, Unstructured};
use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, SyncMethod, WriteMethod};

use super::history::{Op, Run, Way};
use super::model::End;

/// More find nothing that these do not, and take long.
const MOST: usize = 60;

#[derive(Arbitrary, Debug)]
struct Start {
    pwrite: bool,
    msync: bool,
    watermark: bool,
    spare: u8,
    pages: u8,
    seed: u8,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Append(u16),
    Batch(u16, u8),
    Durable(u16),
    Commit,
    CommitTo(u8),
    Roll,
    Checkpoint(u8),
    Truncate(u8),
    Read(u8),
    Step,
    Close,
    Reopen,
    Event(Event),
}

/// Rarer than operations: each opens the log anew, which takes as long as twenty of them.
#[derive(Arbitrary, Debug)]
enum Event {
    /// So many calls later; `kill`: the cache survives.
    CutAt {
        calls: u8,
        draw: u8,
        kill: bool,
    },
    Cut {
        draw: u8,
    },
    Kill,
    Fail(Failure),
    /// The process ends, and the next one meets a failure while it opens the log.
    FailOpen(Failure),
    /// Pages that the disk has; none: no bound.
    Room(Option<u8>),
    Mend,
}

#[derive(Arbitrary, Debug)]
struct Failure {
    call: u8,
    nth: u8,
    full: bool,
    forever: bool,
}

impl Failure {
    fn fault(&self) -> Fault {
        let call = Call::ALL[usize::from(self.call) % Call::ALL.len()];
        let errno = if self.full { 28 } else { 5 };
        let fault = Fault::new(call, u64::from(self.nth % 32) + 1, errno);
        if self.forever { fault.forever() } else { fault }
    }
}

/// Mostly short, at times a large part of a segment.
fn len(n: u16) -> usize {
    let bound = [120, 120, 120, 120, 120, 1200, 1200, 7000];
    usize::from(n >> 3) % bound[usize::from(n & 7)]
}

/// Among the reads, not deeds of their own: so that the inputs that are kept go on to mean what they did.
fn read_or_note(n: u8) -> Op {
    match n {
        0..128 => Op::Read(n.saturating_mul(2)),
        128..160 => Op::Metadata(usize::from(n - 128) * 20),
        160..224 => Op::Ack(n % 3, n.wrapping_mul(37)),
        224..232 => Op::Forget(n % 3),
        232..240 => Op::CheckpointToSlowest,
        240..250 => Op::Archived(n.wrapping_mul(37)),
        250.. => Op::NotArchived,
    }
}

struct Life {
    run: Run,
    /// How the last process ended.
    end: End,
    /// Whether this one came as far as to see the log.
    opened: bool,
    /// What a cut that is ordered leaves: which state, or the cache.
    cut: (u64, bool),
    /// A fault was ordered; the disk has a bound.
    faulty: bool,
    full: bool,
}

impl Life {
    fn allowed(&self, error: &Error) -> bool {
        self.faulty || (self.full && error.is_full())
    }

    fn open(&mut self) {
        let run = &mut self.run;
        match run.way.open(&run.disk) {
            Ok(log) => {
                // The comparison reads: that is not to fail.
                self.mend();
                let run = &mut self.run;
                let seen = run.model.found(&log, self.end);
                run.log = seen.then_some(log);
                run.errors.clear();
                self.opened |= seen;
                self.end = if seen { End::Kill } else { self.end };
            }
            Err(error) => {
                let right = run.disk.is_off() || self.allowed(&error);
                assert!(right, "open after {:?}: {error}", self.end);
                if self.faulty {
                    // A failed sync of what no one was told is durable: the next one finds it gone.
                    self.end = End::PowerCut;
                }
            }
        }
    }

    fn mend(&mut self) {
        self.run.disk.mend();
        self.faulty = false;
    }

    /// Ends the process: without a word, or with the power.
    fn die(&mut self, kill: bool, draw: u64) {
        let run = &mut self.run;
        run.disk.cut_power();
        assert_eq!(run.disk.violations(), Vec::<String>::new());
        run.log = None;
        if kill {
            run.disk.restart();
            // After an error, what it was about may be gone.
            let sure = self.opened && run.errors.is_empty();
            self.end = if sure { End::Kill } else { self.end };
            if self.opened && !sure {
                self.end = End::PowerCut;
            }
        } else {
            let other = run.disk.crash(draw ^ 0xFF);
            let mut twin = Run::new(run.way, other);
            twin.model = run.model.clone();
            see_twice(twin, draw, self.full);
            run.disk = run.disk.crash(draw);
            self.end = End::PowerCut;
        }
        self.mend();
        self.run.errors.clear();
        self.opened = false;
    }

    fn act(&mut self, deed: &Deed) {
        let op = match deed {
            Deed::Append(n) => Op::Append(len(*n)),
            Deed::Batch(n, more) => {
                let lens = (0..=u16::from(more % 5)).map(|i| len(n.rotate_left(i.into())));
                Op::Batch(lens.collect())
            }
            Deed::Durable(n) => Op::Durable(len(*n)),
            Deed::Commit => Op::Commit,
            Deed::CommitTo(at) => Op::CommitTo(*at),
            Deed::Roll => Op::Roll,
            Deed::Checkpoint(at) => Op::Checkpoint(*at),
            Deed::Truncate(at) => Op::Truncate(*at),
            Deed::Read(at) => read_or_note(*at),
            Deed::Step => Op::Step,
            Deed::Close | Deed::Reopen => {
                self.mend();
                if matches!(deed, Deed::Close) { Op::Close } else { Op::Reopen }
            }
            Deed::Event(event) => return self.meet(event),
        };
        let known = self.run.errors.len();
        self.run.live(&[op]);
        for error in self.run.errors.iter().skip(known) {
            let right = self.allowed(error) || (error.is_poisoned() && known > 0);
            assert!(right, "without a fault: {error}");
        }
    }

    fn meet(&mut self, event: &Event) {
        match event {
            Event::CutAt { calls, draw, kill } => {
                self.cut = ((*draw).into(), *kill);
                self.run.disk.cut_power_at(self.run.disk.calls() + u64::from(*calls) + 1);
            }
            Event::Cut { draw } => self.die(false, (*draw).into()),
            Event::Kill => self.die(true, 0),
            Event::Fail(failure) => {
                self.faulty = true;
                self.run.disk.order(failure.fault());
            }
            Event::FailOpen(failure) => {
                self.die(true, 0);
                self.faulty = true;
                self.run.disk.order(failure.fault());
                self.open();
            }
            Event::Room(pages) => {
                self.full = pages.is_some();
                self.run.disk.set_capacity(pages.map(|pages| u64::from(pages) * 4096));
            }
            Event::Mend => self.mend(),
        }
    }
}

/// What recovery told of, the next power cut leaves; and recovering again tells the same.
fn see_twice(mut run: Run, draw: u64, full: bool) {
    for n in 0..2 {
        match run.way.open(&run.disk) {
            Ok(log) => drop(run.model.found(&log, End::PowerCut)),
            Err(error) => assert!(full && error.is_full(), "open after a power cut: {error}"),
        }
        run.disk = run.disk.crash(draw + n);
    }
}

pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(start) = bytes.arbitrary::<Start>() else { return };
    let way = Way {
        write: if start.pwrite { WriteMethod::Pwrite } else { WriteMethod::Mmap },
        sync: if start.msync { SyncMethod::Msync } else { SyncMethod::Fdatasync },
        spare: usize::from(start.spare % 3),
        pages: u64::from(start.pages % 3) + 4,
    };
    let disk = SimDisk::new(start.seed.into());
    disk.set_stores_are_safe(start.watermark);
    let run = Run::new(way, disk);
    let end = End::PowerCut;
    let mut life = Life { run, end, opened: false, cut: (0, false), faulty: false, full: false };
    for _ in 0..MOST {
        if bytes.is_empty() {
            break;
        }
        let Ok(deed) = bytes.arbitrary::<Deed>() else { break };
        if life.run.log.is_none() && !life.run.disk.is_off() {
            life.open();
        }
        // To read what a failure was made of.
        if std::env::var_os("DURALOG_SHOW").is_some() {
            eprintln!("{:?} {deed:?}", life.end);
        }
        life.act(&deed);
        if life.run.disk.is_off() {
            let (draw, kill) = life.cut;
            life.die(kill, draw);
        }
    }
    // Whatever happened: on a disk that works, the log is there.
    life.run.disk.set_capacity(None);
    life.full = false;
    life.die(true, 0);
    life.open();
    assert!(life.opened);
}
