//! One kind of fault: a log of its own, life after life, and now and then a new one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fastrand::Rng;

use super::history::{Broken, History};
use super::life::{Life, Tracer, check};
use super::power::{FileSystem, Power};
use super::report::Tally;
use super::traced::{self, Injected};
use super::words::{Said, WRITERS, dice};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// SIGKILL at random moments
    Kill,
    /// Under strace: killed at a call, calls that fail, and whether each sync was made
    Traced,
    /// Power cuts, on a disk of its own in memory
    Power,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Traced => "traced",
            Kind::Power => "power",
        }
    }

    pub(crate) fn of_fault(self) -> &'static str {
        match self {
            Kind::Kill => "a kill",
            Kind::Traced => "a trace",
            Kind::Power => "a power cut",
        }
    }
}

/// What all kinds have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) program: PathBuf,
    pub(crate) seed: u64,
    pub(crate) threads: u32,
    /// Syncs do nothing.
    pub(crate) control: bool,
}

pub(crate) struct Rounds {
    pub(crate) kind: Kind,
    common: Common,
    home: PathBuf,
    dice: Rng,
    disk: Option<Power>,
    round: u64,
    life: u32,
    lives_left: u32,
    history: History,
    tally: Tally,
    /// What was done last, in words.
    pub(crate) fault: String,
}

impl Rounds {
    pub(crate) fn new(
        kind: Kind,
        common: Common,
        scratch: &Path,
        of: FileSystem,
    ) -> Result<Rounds> {
        let home = scratch.join(kind.name());
        std::fs::create_dir(&home).context("the scratch directory")?;
        let disk = match kind {
            Kind::Power => Some(Power::new(&home, of)?),
            _ => None,
        };
        let dice = dice(common.seed, 1 << 59 | kind as u64);
        Ok(Rounds {
            kind,
            common,
            home,
            dice,
            disk,
            round: 0,
            life: 0,
            lives_left: 0,
            history: History::default(),
            tally: Tally::default(),
            fault: String::new(),
        })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.with(self.history.counts)
    }

    pub(crate) fn log(&self) -> PathBuf {
        let home = self.disk.as_ref().map_or(self.home.clone(), Power::path);
        home.join(format!("log-{}", self.round))
    }

    pub(crate) fn trace(&self) -> String {
        std::fs::read_to_string(traced::file(&self.home)).unwrap_or_default()
    }

    /// One life of a child, its end, and what is found then.
    pub(crate) fn live(&mut self) -> Result<()> {
        if self.lives_left == 0 {
            self.begin_round()?;
        }
        self.lives_left -= 1;
        self.life += 1;
        self.tally.lives += 1;
        self.fault = format!("{}, life {}, log {}", self.kind.of_fault(), self.life, self.round);
        match self.kind {
            Kind::Kill => self.killed(),
            Kind::Traced => self.traced(),
            Kind::Power => self.without_power(),
        }
    }

    fn begin_round(&mut self) -> Result<()> {
        if self.log().exists() {
            std::fs::remove_dir_all(self.log()).context("the log of the last round")?;
        }
        self.tally = self.tally();
        self.tally.rounds += 1;
        self.round += 1;
        self.history = History::default();
        self.lives_left = self.dice.u32(1..16);
        Ok(())
    }

    fn start(&mut self, tracer: &Tracer, more: &[&str]) -> Result<Life> {
        let threads = self.dice.u32(1..=self.common.threads.min(WRITERS));
        self.history.begin(self.life, threads);
        let [seed, life, threads] =
            [self.common.seed, self.life.into(), threads.into()].map(|n| n.to_string());
        let args = ["--seed", &seed, "--life", &life, "--threads", &threads];
        self.child(tracer, &[&args[..], more].concat())
    }

    fn child(&self, tracer: &Tracer, more: &[&str]) -> Result<Life> {
        let log = self.log();
        let mut args = vec![OsStr::new("torture-child"), log.as_os_str()];
        args.extend(more.iter().map(OsStr::new));
        Life::start(tracer.command(&self.common.program, &args))
    }

    fn checker(&self, tracer: &Tracer) -> Result<Life> {
        self.child(tracer, &["--check", "--seed", &self.common.seed.to_string()])
    }

    /// Opens the log and compares; the last word on this life.
    fn check(&mut self) -> Result<()> {
        let mut checker = self.checker(&Tracer::default())?;
        let status = checker.end()?;
        if check(&checker, &mut self.history)? {
            return self.no_error(&checker);
        }
        self.no_error(&checker)?;
        bail!("a checking child ended by {status}")
    }

    fn killed(&mut self) -> Result<()> {
        let log = self.log();
        let mut life = self.start(&Tracer::default(), &["--probed"])?;
        let mut left = Duration::from_micros(self.dice.u64(0..300_000));
        let step = Duration::from_millis(10);
        while !left.is_zero() && life.listen(left.min(step)) {
            left = left.saturating_sub(step);
            if life.said.last() == Some(&Said::Locked) {
                life.probe(&log)?;
            }
        }
        life.kill()?;
        life.end()?;
        self.tally.kills += 1;
        life.tell(&mut self.history)?;
        self.no_error(&life)?;
        if self.dice.u32(0..4) == 0 {
            let mut checker = self.checker(&Tracer::default())?;
            checker.listen(Duration::from_micros(self.dice.u64(0..30_000)));
            checker.kill()?;
            checker.end()?;
            self.interrupted(&checker)?;
        }
        self.check()
    }

    /// An opening that came to its end all the same is one more check.
    fn interrupted(&mut self, checker: &Life) -> Result<()> {
        self.tally.interrupted_openings += u64::from(!check(checker, &mut self.history)?);
        Ok(())
    }

    fn traced(&mut self) -> Result<()> {
        let (inject, injected) = match self.common.control {
            true => (Some(traced::NO_SYNC.to_owned()), Injected::NoSync),
            false => traced::choose(&mut self.dice),
        };
        if let Some(inject) = &inject {
            self.fault += &format!(", {inject}");
        }
        let file = traced::file(&self.home);
        let mut life = self.start(&traced::tracer(&file, inject.as_deref()), &["--traced"])?;
        let most = if injected == Injected::Nothing { 500 } else { 1500 };
        life.listen(Duration::from_millis(self.dice.u64(50..most)));
        life.kill()?;
        life.end()?;
        life.tell(&mut self.history)?;
        let seen = super::trace::check(&self.trace(), &traced::places(&self.log()))?;
        self.tally.syncs_seen += seen.proven;
        match injected {
            Injected::Failure { may_lose } => {
                self.tally.failed_calls += seen.injected;
                if may_lose && seen.injected > 0 {
                    self.history.may_lose();
                }
            }
            _ => {
                self.tally.kills += 1;
                self.no_error(&life)?;
            }
        }
        if self.dice.u32(0..4) == 0 && !self.common.control {
            let inject = traced::kill(&mut self.dice, 5);
            let mut checker = self.checker(&traced::tracer(&file, Some(&inject)))?;
            checker.end()?;
            self.interrupted(&checker)?;
        }
        self.check()
    }

    fn without_power(&mut self) -> Result<()> {
        let file = traced::file(&self.home);
        let (tracer, flags): (_, &[&str]) = match self.common.control {
            true => (traced::tracer(&file, Some(traced::NO_SYNC)), &["--traced"]),
            false => (Tracer::default(), &[]),
        };
        let mut life = self.start(&tracer, flags)?;
        // Also before there is a log; mostly at work.
        if self.dice.u32(0..8) > 0 {
            life.wait_for(|said| *said == Said::Opened);
            life.listen(Duration::from_micros(self.dice.u64(0..300_000)));
        }
        self.cut(&mut life)?;
        life.tell(&mut self.history)?;
        self.no_error(&life)?;
        while self.mount()? {
            if self.dice.u32(0..4) > 0 || self.common.control {
                return self.check();
            }
            let mut checker = self.checker(&Tracer::default())?;
            self.cut(&mut checker)?;
            self.interrupted(&checker)?;
        }
        Ok(())
    }

    /// The disk stops, in the middle of whatever it does; then the child dies, so that it hears of no more.
    fn cut(&mut self, life: &mut Life) -> Result<()> {
        let writes = self.dice.u64(0..60);
        let time = Duration::from_millis(self.dice.u64(0..200));
        let seed = self.dice.u64(0..1 << 60);
        let disk = self.disk.as_mut().context("the disk")?;
        disk.hold(writes, time)?;
        life.kill()?;
        disk.cut(seed)?;
        life.end()?;
        self.history.may_lose();
        self.tally.power_cuts += 1;
        Ok(())
    }

    /// False: the cut left no file system that can be mounted, which begins anew.
    fn mount(&mut self) -> Result<bool> {
        let disk = self.disk.as_mut().context("the disk")?;
        let Err(error) = disk.restart() else { return Ok(true) };
        crate::out::say(format_args!(
            "the file system does not mount behind a power cut: {error:#}"
        ));
        self.tally.unmountable += 1;
        self.lives_left = 0;
        self.disk.as_mut().context("the disk")?.begin_anew()?;
        Ok(false)
    }

    /// Nothing was wrong with the disk. A log without syncs may notice that itself, which is not what the control is for.
    fn no_error(&self, life: &Life) -> Result<()> {
        match life.error() {
            Some(error) if error.contains("the disk is full") => bail!("{error}"),
            Some(error) if !self.common.control => {
                Err(Broken::new("P7", "no error where nothing was wrong", error).into())
            }
            _ => Ok(()),
        }
    }
}
