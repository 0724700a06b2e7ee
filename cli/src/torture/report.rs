//! Figures of a run, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::history::Counts;

/// Of one kind of fault.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) lives: u64,
    pub(crate) kills: u64,
    pub(crate) failed_calls: u64,
    pub(crate) power_cuts: u64,
    /// Openings that were killed or lost power before they were done.
    pub(crate) interrupted_openings: u64,
    /// Records whose sync was seen in a trace.
    pub(crate) syncs_seen: u64,
    /// Cuts behind which the file system could not be mounted: no fault of a log.
    pub(crate) unmountable: u64,
    pub(crate) appended: u64,
    pub(crate) acknowledged: u64,
    pub(crate) checked: u64,
    pub(crate) checkpoints: u64,
    pub(crate) cuts: u64,
    pub(crate) torn_tails: u64,
}

impl Tally {
    /// With what the histories counted.
    pub(crate) fn with(mut self, counts: Counts) -> Tally {
        self.appended += counts.appended;
        self.acknowledged += counts.acknowledged;
        self.checked += counts.checked;
        self.checkpoints += counts.checkpoints;
        self.cuts += counts.cuts;
        self.torn_tails += counts.torn;
        self
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) fault: String,
    pub(crate) promise: String,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) directory: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    pub(crate) file_system: &'static str,
    pub(crate) interrupted: bool,
    pub(crate) kinds: Vec<(&'static str, Tally)>,
    pub(crate) broken: Option<Failure>,
    pub(crate) verdict: String,
}

impl Report {
    pub(crate) fn verdict(&self, control: bool) -> String {
        let (seed, seconds) = (self.seed, self.seconds);
        if control {
            return match &self.broken {
                Some(Failure { kind, promise, .. }) => format!(
                    "control: the disabled sync was found after {seconds:.1} s by {kind} ({promise})"
                ),
                None => format!("control: the disabled sync was NOT found in {seconds:.1} s"),
            };
        }
        if let Some(broken) = &self.broken {
            return format!("{} WAS BROKEN after {seconds:.1} s (seed {seed})", broken.promise);
        }
        let sum = |of: fn(&Tally) -> u64| self.kinds.iter().map(|(_, tally)| of(tally)).sum();
        let checked: u64 = sum(|tally| tally.checked);
        if checked == 0 {
            return format!("nothing was checked: the run was too short (seed {seed})");
        }
        let faults = [
            (sum(|tally| tally.kills), "kills"),
            (sum(|tally| tally.failed_calls), "failed calls"),
            (sum(|tally| tally.power_cuts), "power cuts"),
        ];
        let faults = faults.iter().filter(|(count, _)| *count > 0);
        let faults: Vec<_> =
            faults.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
        format!(
            "no promise was broken: {}, {} records checked (seed {seed})",
            faults.join(", "),
            grouped(checked)
        )
    }

    pub(crate) fn table(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let heads = ["kind", "rounds", "lives", "faults", "appended", "acked", "checked"];
        let [kind, rounds, lives, faults, appended, acked, checked] = heads;
        writeln!(
            text,
            "{kind:<7}{rounds:>7}{lives:>7}{faults:>7}{appended:>10}{acked:>10}{checked:>10}{:>8}{:>6}{:>6}",
            "chkpts", "cuts", "torn"
        )?;
        for (kind, tally) in &self.kinds {
            let faults = tally.kills + tally.failed_calls + tally.power_cuts;
            let Tally { rounds, lives, appended, acknowledged, checked, .. } = tally;
            let Tally { checkpoints, cuts, torn_tails, .. } = tally;
            writeln!(
                text,
                "{kind:<7}{rounds:>7}{lives:>7}{faults:>7}{appended:>10}{acknowledged:>10}{checked:>10}{checkpoints:>8}{cuts:>6}{torn_tails:>6}"
            )?;
        }
        for (kind, tally) in &self.kinds {
            let notes = [
                (tally.interrupted_openings, "openings were interrupted, and done again"),
                (tally.syncs_seen, "records whose sync was seen in a trace"),
                (tally.unmountable, "cuts behind which the file system did not mount"),
            ];
            for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
                writeln!(text, "{kind}: {} {what}", grouped(*count))?;
            }
        }
        if let Some(Failure { kind: _, fault, promise, expected, found, directory }) = &self.broken
        {
            text += "\n";
            let kept = directory.as_deref().map(|directory| ("kept in   ", directory));
            let lines = [
                ("promise   ", promise),
                ("fault     ", fault),
                ("expected  ", expected),
                ("found     ", found),
            ];
            let lines = lines.map(|(head, line)| (head, line.as_str()));
            lines.into_iter().chain(kept).for_each(|(head, line)| text += &wrapped(head, line));
        }
        Ok(text + "\n" + &wrapped("", &self.verdict))
    }
}

/// In lines of at most 80 columns, as far as the words allow.
fn wrapped(head: &str, text: &str) -> String {
    let (mut all, mut line) = (String::new(), head.to_owned());
    for word in text.split(' ') {
        if line.len() > head.len() && line.len() + word.len() > 80 {
            all += &format!("{}\n", line.trim_end());
            line = " ".repeat(head.len());
        }
        line += &format!("{word} ");
    }
    all + line.trim_end() + "\n"
}

/// 3,204,118
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_in_eighty_columns_and_ends_with_the_verdict() {
        let tally = Tally {
            rounds: 12,
            lives: 412,
            kills: 412,
            appended: 12_345_678,
            acknowledged: 12_345_678,
            checked: 3_204_118,
            checkpoints: 123_456,
            cuts: 9999,
            torn_tails: 999,
            ..Tally::default()
        };
        let mut report = Report {
            seed: 7,
            seconds: 60.0,
            file_system: "ext4",
            interrupted: false,
            kinds: vec![("kill", tally), ("traced", tally)],
            broken: Some(Failure {
                kind: "a kill",
                fault: "a kill".into(),
                promise: "P1".into(),
                expected: "at LSN 8192 record 1 of 1 of append 17 of thread 3, life 9 ".repeat(3),
                found: "no such record".into(),
                directory: None,
            }),
            verdict: String::new(),
        };
        let text = report.table().unwrap();
        assert!(text.contains("\nexpected  at LSN 8192 ") && text.contains("\n          "));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        report.broken = None;
        report.verdict = report.verdict(false);
        let text = report.table().unwrap();
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        let last = "no promise was broken: 824 kills, 6,408,236 records checked (seed 7)";
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!([0, 999, 1000, 3_204_118].map(grouped), ["0", "999", "1,000", "3,204,118"]);
    }
}
