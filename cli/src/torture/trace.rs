//! What strace saw of a child: before a record is called durable its segment was synced, by a call that was really made
//! and began behind the append. That finds a sync that does nothing without any harm to the disk.
//!
//! An append is no system call. But the thread told of something before it, by a write: a sync that had begun by
//! then does not cover the record. What is asked for is less than what is promised, and never more.

use std::collections::BTreeMap;

use super::history::Broken;
use super::words::Said;

/// Which segment holds an LSN, as the manifest says after the child's death.
#[derive(Debug, Default)]
pub(crate) struct Places(pub(crate) Vec<(std::ops::Range<u64>, String)>);

impl Places {
    fn of(&self, lsn: u64) -> Option<&str> {
        let found = self.0.iter().find(|(window, _)| window.contains(&lsn));
        found.map(|(_, file)| file.as_str())
    }
}

/// What was seen in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Records of which a sync was seen.
    pub(crate) proven: u64,
    /// Calls that the tracer made to fail, or to do nothing.
    pub(crate) injected: u64,
}

struct Watch<'a> {
    places: &'a Places,
    /// Of each thread: the call that it is in and since which line; the end of its last word to the parent.
    inside: BTreeMap<&'a str, (usize, String)>,
    told: BTreeMap<&'a str, usize>,
    /// Of each file, and of all: when the last sync that succeeded had begun.
    syncs: BTreeMap<String, usize>,
    any: Option<usize>,
    /// A sync of a segment in use failed: no later one counts.
    failed: Option<usize>,
    /// Records of which no sync was asked yet, with the line that their append is known to lie behind.
    pending: BTreeMap<u64, usize>,
    seen: Seen,
}

const SYNCS: [&str; 2] = ["fdatasync(", "fsync("];
const TELL: &str = "write(1<";

pub(crate) fn check(trace: &str, places: &Places) -> Result<Seen, Broken> {
    let mut watch = Watch {
        places,
        inside: BTreeMap::new(),
        told: BTreeMap::new(),
        syncs: BTreeMap::new(),
        any: None,
        failed: None,
        pending: BTreeMap::new(),
        seen: Seen::default(),
    };
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        watch.line(at, thread, call.trim_start())?;
    }
    Ok(watch.seen)
}

impl<'a> Watch<'a> {
    fn line(&mut self, at: usize, thread: &'a str, text: &str) -> Result<(), Broken> {
        let (begun, call) = match text.split_once(" resumed>") {
            Some((_, rest)) => {
                let (begun, start) = self.inside.remove(thread).unwrap_or((at, String::new()));
                (begun, start + rest)
            }
            None => {
                self.begins(thread, text)?;
                (at, text.to_owned())
            }
        };
        if let Some((start, _)) = call.split_once(" <unfinished ...>") {
            self.inside.insert(thread, (begun, start.to_owned()));
            return Ok(());
        }
        self.seen.injected += u64::from(call.contains("(INJECTED)"));
        if call.starts_with(TELL) {
            self.told.insert(thread, at);
        } else if SYNCS.iter().any(|sync| call.starts_with(sync)) {
            self.synced(begun, at, &call);
        }
        Ok(())
    }

    fn begins(&mut self, thread: &str, call: &str) -> Result<(), Broken> {
        let Some(rest) = call.strip_prefix(TELL) else { return Ok(()) };
        let Some((_, text)) = rest.split_once(", \"") else { return Ok(()) };
        let Some((line, _)) = text.split_once("\\n") else { return Ok(()) };
        match Said::parse(line) {
            Some(Said::Appended { lsns, .. }) => {
                let since = self.told.get(thread).copied().unwrap_or(0);
                self.pending.extend(lsns.iter().map(|lsn| (*lsn, since)));
            }
            Some(Said::Durable(lsn)) => self.acknowledged(lsn)?,
            Some(Said::Close { done: true }) => self.acknowledged(u64::MAX - 1)?,
            // All that is kept is durable.
            Some(Said::Cut { done: true, .. }) => self.pending.clear(),
            Some(Said::Opened) => self.failed = None,
            _ => {}
        }
        Ok(())
    }

    fn synced(&mut self, begun: usize, at: usize, call: &str) {
        let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let Some((path, result)) = path else { return };
        let file = path.rsplit('/').next().unwrap_or(path);
        let is_late = self.failed.is_some_and(|failed| begun > failed);
        if result.trim_end().ends_with("= 0") && !is_late {
            let last = self.syncs.entry(file.to_owned()).or_insert(begun);
            *last = begun.max(*last);
            self.any = self.any.max(Some(begun));
        } else if result.contains("= -1") && self.is_in_use(file) {
            self.failed = self.failed.or(Some(at));
        }
    }

    fn is_in_use(&self, file: &str) -> bool {
        self.pending.keys().any(|lsn| self.places.of(*lsn) == Some(file))
    }

    fn acknowledged(&mut self, lsn: u64) -> Result<(), Broken> {
        let open = self.pending.split_off(&(lsn + 1));
        for (lsn, since) in std::mem::replace(&mut self.pending, open) {
            let file = self.places.of(lsn);
            let sync = file.map_or(self.any, |file| self.syncs.get(file).copied());
            if sync.is_none_or(|begun| begun < since) {
                let file = file.unwrap_or("the segment");
                let promise = if self.failed.is_some() { "P6" } else { "P1" };
                let expected = format!(
                    "a sync of {file} that began after the record at LSN {lsn} was appended and \
                     succeeded before it was called durable"
                );
                return Err(Broken::new(promise, expected, "none in the trace"));
            }
            self.seen.proven += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places(vec![(4096..8192, "1.seg".into()), (8192..12288, "2.seg".into())])
    }

    fn seen(trace: &str) -> Result<Seen, String> {
        check(trace, &places()).map_err(|broken| broken.promise)
    }

    const APPENDED: &str = "7 write(1<pipe:[1]>, \"R 64 0 5000\\n\", 12) = 12\n";
    const TOLD: &str = "7 write(1<pipe:[1]>, \"A 5000\\n\", 7) = 7\n";

    fn with(between: &str) -> Result<Seen, String> {
        seen(&format!("7 write(1<pipe:[1]>, \"O\\n\", 2) = 2\n{APPENDED}{between}{TOLD}"))
    }

    #[test]
    fn a_record_is_called_durable_behind_a_sync_of_its_segment_alone() {
        assert_eq!(with("7 fdatasync(5</l/1.seg>) = 0\n"), Ok(Seen { proven: 1, injected: 0 }));
        assert_eq!(with(""), Err("P1".into()));
        assert_eq!(with("7 fdatasync(5</l/2.seg>) = 0\n"), Err("P1".into()));
        assert_eq!(with("7 fdatasync(5</l/MANIFEST.new>) = 0\n"), Err("P1".into()));
        assert_eq!(with("7 fdatasync(5</l/1.seg>) = 0 (INJECTED)\n"), Err("P1".into()));
        assert_eq!(with("7 fdatasync(5</l/1.seg> <unfinished ...>\n"), Err("P1".into()));
        assert_eq!(with("7 fdatasync(5</l/1.seg>) = ?\n"), Err("P1".into()));
    }

    #[test]
    fn a_sync_that_had_begun_before_the_append_is_none() {
        let early = format!(
            "8 fdatasync(5</l/1.seg> <unfinished ...>\n\
             7 write(1<pipe:[1]>, \"O\\n\", 2) = 2\n{APPENDED}8 <... fdatasync resumed>) = 0\n{TOLD}"
        );
        assert_eq!(seen(&early), Err("P1".into()));
        // The append lies somewhere between two words of its thread: here it may be covered.
        let late = format!(
            "7 write(1<pipe:[1]>, \"O\\n\", 2) = 2\n\
             8 fdatasync(5</l/1.seg> <unfinished ...>\n{APPENDED}8 <... fdatasync resumed>) = 0\n{TOLD}"
        );
        assert_eq!(seen(&late), Ok(Seen { proven: 1, injected: 0 }));
    }

    #[test]
    fn behind_a_failed_sync_none_counts() {
        let failed = "7 fdatasync(5</l/1.seg>) = -1 EIO (Input/output error) (INJECTED)\n";
        let good = "7 fdatasync(5</l/1.seg>) = 0\n";
        assert_eq!(with(&format!("{failed}{good}")), Err("P6".into()));
        let anew = "7 write(1<pipe:[1]>, \"O\\n\", 2) = 2\n";
        assert_eq!(with(&format!("{failed}{anew}{good}")), Ok(Seen { proven: 1, injected: 1 }));
        // Of a file that holds no record.
        let other = failed.replace("1.seg", "2.seg");
        assert_eq!(with(&format!("{other}{good}")), Ok(Seen { proven: 1, injected: 1 }));
    }
}
