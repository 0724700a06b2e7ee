//! What a child told of its calls, and of a log that it opened anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::said::{Heard, Told};
use crate::peer::{Entry, Outcome};

/// Longer than any call takes that ends (logdb gives up after 30 s): for a call that hangs.
const HANGS: Duration = Duration::from_secs(45);
/// Seconds that are worth telling.
const LATE: u64 = 5;
/// For what may read or fill gibibytes.
pub const LONG: Duration = Duration::from_secs(60);

/// How calls went.
#[derive(Default)]
pub struct Calls {
    pub acknowledged: BTreeSet<u32>,
    pub refused: BTreeSet<u32>,
    /// What the first refusal said.
    pub words: String,
    /// Why there were no more: a hang, or the end of the process.
    pub end: Option<String>,
    /// Of the last call.
    last: Duration,
}

impl Calls {
    /// Hears of as many calls; of none if it waits for a word, or has done all.
    pub fn hear(&mut self, told: &mut Told, most: usize) -> Outcome<()> {
        for _ in 0..most {
            let begin = Instant::now();
            let heard = told.next(HANGS)?;
            self.last = begin.elapsed();
            match heard {
                Heard::Nothing => {
                    self.end = Some("hangs".into());
                    return Ok(());
                }
                Heard::End(how) => {
                    self.end = Some(how);
                    return Ok(());
                }
                Heard::Line(line) if line == "waiting" || line == "end" => return Ok(()),
                Heard::Line(line) => {
                    let mut words = line.splitn(3, ' ');
                    let (how, n) = (words.next(), words.next().unwrap_or_default());
                    let n: u32 = n.parse().map_err(|_| line.clone())?;
                    match how {
                        Some("ok") => drop(self.acknowledged.insert(n)),
                        _ => {
                            self.refused.insert(n);
                            if self.words.is_empty() {
                                self.words = words.next().unwrap_or_default().into();
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The outcome of the call that met the fault.
    pub fn met(&self) -> String {
        let late = match self.last.as_secs() {
            0..LATE => String::new(),
            seconds => format!(" after {seconds} s"),
        };
        match (&self.end, self.refused.is_empty()) {
            (Some(end), _) => end.clone(),
            (None, false) => format!("error{late}"),
            (None, true) => format!("acknowledged{late}"),
        }
    }

    pub fn all(&self) -> String {
        let (acknowledged, refused) = (self.acknowledged.len(), self.refused.len());
        let calls = acknowledged + refused;
        let of = match acknowledged {
            _ if calls == 0 => String::new(),
            0 => "all refused".into(),
            n if n == calls => "all acknowledged".into(),
            n => format!("{n} of {calls} acknowledged"),
        };
        match &self.end {
            Some(end) if of.is_empty() => end.clone(),
            Some(end) => format!("{of}, then {end}"),
            None => of,
        }
    }
}

/// What a log gives when it is opened anew.
#[derive(Default)]
pub struct Again {
    pub opened: bool,
    pub found: Vec<u32>,
    pub wrong: u32,
    pub whole: bool,
    /// The reading came to an end.
    read: bool,
    goes_on: bool,
    /// The first complaint.
    pub words: String,
}

pub fn again(entry: &Entry, dir: &Path, size: usize) -> Outcome<Again> {
    let (dir_word, size) = (dir.to_str().ok_or("a path that is not UTF-8")?, size.to_string());
    let mut told = Told::start(&["read", entry.name, dir_word, &size], dir)?;
    let mut again = Again::default();
    loop {
        let line = match told.next(LONG)? {
            Heard::Line(line) => line,
            Heard::Nothing => {
                again.words.push_str("hangs");
                return Ok(again);
            }
            Heard::End(how) => {
                if !again.goes_on && again.words.is_empty() {
                    again.words = how;
                }
                return Ok(again);
            }
        };
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("open", _) => again.opened = true,
            ("found", numbers) => {
                let mut numbers = numbers.split_whitespace().map(str::parse);
                again.read = true;
                again.wrong = numbers.next().ok_or("no numbers")??;
                again.found = numbers.collect::<Result<_, _>>()?;
            }
            ("whole", _) => again.whole = true,
            ("on", _) => again.goes_on = true,
            ("closed", _) => return Ok(again),
            (_, why) if again.words.is_empty() => again.words = why.into(),
            _ => {}
        }
    }
}

impl Again {
    /// How many of `told` are not there, and of `refused` are.
    pub fn lost(&self, acknowledged: &BTreeSet<u32>, refused: &BTreeSet<u32>) -> String {
        let found: BTreeSet<u32> = self.found.iter().copied().collect();
        let lost = acknowledged.difference(&found).count();
        let mut said = match (self.opened, lost) {
            (false, _) => return "cannot be opened".into(),
            (true, _) if !self.read => return "cannot be read".into(),
            (true, 0) => "nothing lost".into(),
            (true, lost) => format!("**{lost} acknowledged lost**"),
        };
        let back = refused.intersection(&found).count();
        if back > 0 {
            said += &format!(", {back} refused come back");
        }
        if self.wrong > 0 {
            said += &format!(", {} wrong", self.wrong);
        }
        if !self.whole {
            said += ", reading ends by an error";
        }
        if !self.goes_on {
            said += ", takes no more";
        }
        said
    }
}
