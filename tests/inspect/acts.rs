//! Every two things that a writer may do, at every place of a walk.

use duralog::inspect::Inspector;
use duralog::{Error, Log, Lsn, Tail};

use super::{in_memory, interrupt_recovery, numbers, options, write};

/// What a writer may do between two records of a walk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Append,
    Roll,
    CutLately,
    CutEarly,
    CheckpointEarly,
    CheckpointAll,
    Crash,
    Reopen,
    Close,
    InterruptRecovery,
}

const ACTS: [Act; 10] = [
    Act::Append,
    Act::Roll,
    Act::CutLately,
    Act::CutEarly,
    Act::CheckpointEarly,
    Act::CheckpointAll,
    Act::Crash,
    Act::Reopen,
    Act::Close,
    Act::InterruptRecovery,
];

/// Three segments of four records, and what they are numbered.
struct Acted {
    dir: tempfile::TempDir,
    log: Option<Log>,
    records: Vec<(u32, Lsn)>,
    checkpoint: Lsn,
}

impl Acted {
    fn new(spare: usize) -> Acted {
        let dir = in_memory();
        let log = options().spare_segments(spare).open(dir.path()).unwrap();
        let mut acted = Acted { dir, log: Some(log), records: Vec::new(), checkpoint: Lsn::MIN };
        for segment in 0..3 {
            acted.append(4);
            if segment < 2 {
                acted.act(Act::Roll);
            }
        }
        acted
    }

    fn append(&mut self, count: u32) {
        let first = self.records.last().map_or(0, |(number, _)| number + 1);
        let lsns = write(self.log.as_ref().unwrap(), first..first + count);
        self.records.extend((first..).zip(lsns));
    }

    fn cut(&mut self, keep: usize) {
        let log = self.log.as_ref().unwrap();
        // Below the checkpoint there is nothing to cut.
        let Some((_, at)) = self.records.get(keep) else { return };
        if *at >= self.checkpoint.max(log.head()) {
            log.truncate_after(*at).unwrap();
            self.records.truncate(keep + 1);
        }
    }

    fn act(&mut self, act: Act) {
        let dir = self.dir.path().to_owned();
        self.log.get_or_insert_with(|| options().open(dir).unwrap());
        let log = self.log.as_ref().unwrap();
        match act {
            Act::Append => self.append(3),
            Act::Roll => drop(log.roll().unwrap()),
            Act::CutLately => self.cut(self.records.len().saturating_sub(2)),
            Act::CutEarly => self.cut(5),
            Act::CheckpointEarly | Act::CheckpointAll => {
                let early = self.records.get(5).map(|(_, lsn)| *lsn);
                let at = early.filter(|_| act == Act::CheckpointEarly).unwrap_or(log.durable());
                log.checkpoint(at).unwrap();
                self.checkpoint = self.checkpoint.max(at);
            }
            Act::Close => self.log.take().unwrap().close().unwrap(),
            Act::Crash | Act::Reopen | Act::InterruptRecovery => {
                let log = self.log.take().unwrap();
                if act == Act::Reopen {
                    log.close().unwrap();
                }
                drop(log);
                if act == Act::InterruptRecovery {
                    interrupt_recovery(self.dir.path());
                } else {
                    self.log = Some(options().open(self.dir.path()).unwrap());
                }
            }
        }
    }

    fn needed(&self) -> Vec<u32> {
        let needed = self.records.iter().filter(|(_, lsn)| *lsn >= self.checkpoint);
        needed.map(|(number, _)| *number).collect()
    }
}

/// Every two things that a writer may do, at every place of a walk: the walk shows the log as it is in the end, or
/// says that what it showed, or was to show, is gone.
#[test]
fn whatever_happens_between_two_records_is_no_damage_and_no_end() {
    let mut whole = 0;
    for (first, second) in ACTS.iter().flat_map(|first| ACTS.map(|second| (*first, second))) {
        for (taken, spare) in [(0, 2), (1, 0), (4, 2), (6, 0), (12, 2)] {
            let what = format!("{taken} records, {first:?}, 2 records, {second:?}, {spare} spare");
            let mut acted = Acted::new(spare);
            let inspector = Inspector::open(acted.dir.path()).unwrap();
            let mut records = inspector.records();
            let mut found = numbers(records.by_ref().take(taken)).unwrap();
            assert_eq!(found.len(), taken);
            acted.act(first);
            // Until the walk has ended: what happens then it knows nothing of.
            let mut last = first;
            let rest = numbers(records.by_ref().take(2)).and_then(|some| {
                found.extend(some);
                if records.tail().is_none() {
                    last = second;
                    acted.act(second);
                }
                numbers(&mut records)
            });
            match rest {
                Ok(rest) => {
                    found.extend(rest);
                    whole += 1;
                    // What was shown may be below a later checkpoint.
                    let needed = acted.needed();
                    let first = needed.first().copied().unwrap_or(u32::MAX);
                    found.retain(|number| *number >= first);
                    assert_eq!(found, needed, "{what}");
                    let clean = records.tail() == Some(Tail::Clean);
                    assert_eq!(clean, last == Act::Close, "{what}: {:?}", records.tail());
                }
                Err(Error::Gone { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            let verified = inspector.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
            let shown = numbers(&mut Inspector::open(acted.dir.path()).unwrap().records()).unwrap();
            assert_eq!(verified.records, shown.len() as u64, "{what}");
        }
    }
    assert!(whole > 100, "{whole} walks came to the end");
}
