//! P1, P2, P4: a process killed with SIGKILL at random moments loses nothing that it acknowledged.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::io::Write;
use std::time::Duration;

use common::{Appender, TestLog};

const KILLS: u64 = 100;
const SEED: u64 = 0x6475_7261_6c6f_6721;
/// The longest life of a child: some are killed before they have opened the log.
const LIFE_US: u64 = 150_000;
const FLAGS: [&str; 4] = ["--sync", "each", "--segment-size", "65536"];

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The line number `n` of all that were ever fed: its content follows from its number alone.
fn line(n: u64) -> String {
    let mut random = Random(n);
    let words = random.below(180);
    let filler: String = (0..words).map(|_| format!(" {:016x}", random.next())).collect();
    format!("{n}{filler}")
}

/// A record found in the log: its LSN, and the number of its line.
type Found = (u64, u64);

/// Everything in the log, each record checked to be exactly a line that was fed.
fn recovered(log: &TestLog) -> Vec<Found> {
    let replayed = common::text(log.ok("replay", &["--with-lsn"], ""));
    let found = replayed.lines().map(|printed| {
        let (lsn, record) = printed.split_once('\t').unwrap();
        let number = record.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(record, line(number), "the record at LSN {lsn}");
        (lsn.parse().unwrap(), number)
    });
    found.collect()
}

/// One child from its start to its kill: the LSNs that it printed, and the number of the last line fed.
fn live_and_die(log: &TestLog, first: u64, life: Duration) -> (Vec<u64>, u64) {
    let Appender { mut child, mut stdin, printed } = Appender::start(log, &FLAGS);
    let feeder = std::thread::spawn(move || {
        let mut number = first;
        while stdin.write_all(format!("{}\n", line(number)).as_bytes()).is_ok() {
            number += 1;
        }
        number
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    (printed.iter().collect(), feeder.join().unwrap())
}

#[test]
fn p1_p2_p4_every_acknowledged_record_survives_a_hundred_kills() {
    let log = TestLog::new();
    let mut random = Random(SEED);
    let mut kept: Vec<Found> = Vec::new();
    let (mut next, mut acknowledged, mut more, mut rolls) = (0, 0, 0, 0);
    for kill in 0..KILLS {
        let life = Duration::from_micros(random.below(LIFE_US));
        let (printed, last_fed) = live_and_die(&log, next, life);
        if !log.path().join("MANIFEST").exists() {
            assert!(printed.is_empty(), "kill {kill}: acknowledged by a log that is not there");
            continue;
        }
        let found = recovered(&log);

        // What survived an earlier kill is still there, then comes a prefix of what was fed now.
        assert!(found.len() >= kept.len(), "kill {kill}: {} of {}", found.len(), kept.len());
        let (old, new) = found.split_at(kept.len());
        assert_eq!(old, kept, "kill {kill}");
        let numbers: Vec<u64> = new.iter().map(|(_, number)| *number).collect();
        let fed: Vec<u64> = (next..next + new.len() as u64).collect();
        assert_eq!(numbers, fed, "kill {kill}: a prefix, without gaps");
        assert!(next + new.len() as u64 <= last_fed + 1, "kill {kill}: more than was fed");

        // Of this prefix the first were acknowledged, under these LSNs.
        let lsns: Vec<u64> = new.iter().map(|(lsn, _)| *lsn).collect();
        assert!(lsns.len() >= printed.len(), "kill {kill}: acknowledged records are missing");
        assert_eq!(lsns[..printed.len()], printed, "kill {kill}");
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "kill {kill}: LSNs ascend");

        acknowledged += printed.len();
        more += new.len() - printed.len();
        rolls += lsns.windows(2).filter(|pair| pair[0] / 65536 != pair[1] / 65536).count();
        kept = found;
        // No number is used twice: a line that comes late would be seen.
        next = last_fed + 1;
        // A gap in the numbers is where a child ended; nothing may fill it later.
        if kill % 7 == 6 && !kept.is_empty() {
            checkpoint(&log, &mut kept, &mut random);
        }
    }
    println!("{acknowledged} acknowledged, {more} more recovered, {rolls} rolls; seed {SEED:#x}");
    assert!(acknowledged > 0 && rolls > 0, "the children lived too short a time to show anything");
    log.ok("verify", &[], "");
}

/// At a random record: it and all after it stay.
fn checkpoint(log: &TestLog, kept: &mut Vec<Found>, random: &mut Random) {
    let at = random.below(kept.len() as u64);
    let (lsn, _) = kept[usize::try_from(at).unwrap()];
    log.ok("checkpoint", &[&lsn.to_string()], "");
    let found = recovered(log);
    let gone = kept.len() - found.len();
    assert_eq!(found, kept[gone..], "a checkpoint takes from the front alone");
    assert!(found.first().is_some_and(|(first, _)| *first <= lsn), "the record at {lsn} is needed");
    *kept = found;
}
