//! Children under strace: which calls fail, at which a child is killed, and where the trace goes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use duralog::inspect::Inspector;
use fastrand::Rng;

use super::life::Tracer;
use super::trace::Places;

/// Where a child can be killed.
const CALLS: [&str; 9] = [
    "fdatasync",
    "fsync",
    "pwrite64",
    "pwritev",
    "fallocate",
    "openat",
    "unlinkat",
    "?rename,?renameat,?renameat2",
    "ftruncate",
];

const FAILURES: [(&str, &str); 10] = [
    ("fdatasync", "EIO"),
    ("fdatasync", "EIO"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
    ("pwrite64", "EIO"),
    ("pwritev", "EIO"),
    ("?rename,?renameat,?renameat2", "EIO"),
    ("fallocate", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
    ("pwritev", "ENOSPC"),
];

/// What the tracer does to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injected {
    Nothing,
    Kill,
    /// And what was not durable may be lost.
    Failure {
        may_lose: bool,
    },
    /// Every sync does nothing, and says that it did.
    NoSync,
}

pub(crate) fn is_possible() -> Result<(), String> {
    let mut probe = Command::new("strace");
    probe.args(["-f", "--seccomp-bpf", "-y", "-o", "/dev/null", "-e", "trace=fdatasync", "true"]);
    match probe.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Err(_) => Err("no strace here".into()),
        Ok(status) if !status.success() => Err("strace cannot trace here".into()),
        Ok(_) => Ok(()),
    }
}

pub(crate) fn tracer(trace: &Path, inject: Option<&str>) -> Tracer {
    let mut flags: Vec<String> =
        ["strace", "-f", "-y", "-qq", "-s", "512", "--seccomp-bpf"].map(String::from).into();
    let mut calls = "trace=write,fdatasync,fsync,msync".to_owned();
    if let Some(inject) = inject {
        let call = inject.split(':').next().unwrap_or_default();
        calls = format!("{calls},{call}");
        flags.extend(["-e".into(), format!("inject={inject}")]);
    }
    flags.extend(["-e".into(), calls, "-o".into(), trace.display().to_string()]);
    Tracer(flags)
}

pub(crate) const NO_SYNC: &str = "fdatasync,fsync,msync:retval=0";

/// One of the things that can be done to a child, by chance.
pub(crate) fn choose(dice: &mut Rng) -> (Option<String>, Injected) {
    match dice.u32(0..10) {
        0 | 1 => (None, Injected::Nothing),
        2..5 => (Some(kill(dice, 40)), Injected::Kill),
        _ => {
            let (call, error) = dice.choice(FAILURES).unwrap_or(("fdatasync", "EIO"));
            // Once, or from then on.
            let ever = if dice.bool() { "+" } else { "" };
            let when = dice.u32(1..25);
            let inject = format!("{call}:error={error}:when={when}{ever}");
            (Some(inject), Injected::Failure { may_lose: error == "EIO" })
        }
    }
}

/// Death on the way into the n-th call of some kind that a thread makes.
pub(crate) fn kill(dice: &mut Rng, most: u32) -> String {
    let call = dice.choice(CALLS).unwrap_or("fdatasync");
    format!("{call}:signal=KILL:when={}", dice.u32(1..most))
}

/// None where there is no log yet.
pub(crate) fn places(log: &Path) -> Places {
    let found = Inspector::open(log).ok();
    let segments = found.map(|log| log.summary().segments.clone()).unwrap_or_default();
    let place = |segment: duralog::inspect::SegmentInfo| {
        let base = segment.base.get();
        (base..base + segment.size, segment.file)
    };
    Places(segments.into_iter().map(place).collect())
}

/// The file that a tracer writes to, beside the log.
pub(crate) fn file(home: &Path) -> PathBuf {
    home.join("trace")
}
