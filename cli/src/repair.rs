//! `duralog repair`: a new log out of what is sound in a damaged one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use duralog::inspect::{Doubt, Doubtful, Found, Gap, Inspector, Report, Salvage};
use duralog::{Lsn, Options};
use indicatif::ProgressBar;
use serde_json::json;
use tempfile::TempDir;

use crate::records::shown;
use crate::target::{Target, parent};
use crate::{any_record, interrupt, out, owner, verify};

/// Copy what is sound of a damaged log into a new one.
///
/// The damaged log is only read, and every gap is reported. Exit code 0 says that the new log is whole, whatever is missing
/// in it: the report says that, and --json.
///
/// Where only the manifest is lost, it is made anew from the headers of the segments, and each LSN is as it was. What a
/// checkpoint or a cut had taken may be there again, and consumers and metadata may be missing or older, since only the
/// manifest knew.
///
/// Else the new log begins beyond every position of the old one, so that no LSN of the old names another record in the
/// new; --lsn-map says which became which. Consumers go on with the first record that they had not done; metadata are
/// kept, an archive pin is not. Records in doubt are left out, and told of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog repair my-log --into my-new-log --lsn-map moved.tsv")]
pub(crate) struct Args {
    /// Directory of the damaged log
    dir: PathBuf,
    /// Directory of the new log, which must not exist
    #[arg(long, value_name = "NEW", required_unless_present = "dry_run")]
    into: Option<PathBuf>,
    /// Only report what would be copied, and what is missing
    #[arg(long)]
    dry_run: bool,
    /// Write the old and the new LSN of each record into this file, a line each, with a tab between
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    lsn_map: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(pid) = owner::of(&args.dir) {
        let what = "what it changes meanwhile may show as gaps";
        out::say(format_args!("the log is open in process {pid}: {what}"));
    }
    if let Some(new) = &args.into {
        ensure!(!new.try_exists()?, "{} exists already", new.display());
        let (dir, beside) = (args.dir.canonicalize(), parent(new).canonicalize());
        let is_inside = dir.is_ok_and(|dir| beside.is_ok_and(|beside| beside.starts_with(dir)));
        ensure!(!is_inside, "{} is in the damaged log, which is only read", new.display());
    }
    let mut findings = Findings::new(&args.dir, args.json);
    let report = match &args.into {
        Some(new) if !args.dry_run => Repair::new(args, new)?.run(args, &mut findings)?,
        _ => {
            let mut salvage = Salvage::open(&args.dir)?;
            salvage.by_ref().for_each(|found| drop(findings.pass(found)));
            salvage.report().clone()
        }
    };
    findings.bar.finish_and_clear();
    if !report.by_manifest {
        out::say(
            "without a manifest, what a checkpoint or a cut had taken may be there again, and",
        );
        out::say("consumers and metadata may be missing, or older, that it alone knew of");
    }
    findings.report(args, &report)
}

/// What is not copied.
struct Findings {
    gaps: Vec<Gap>,
    doubtful: Vec<(Lsn, Doubt)>,
    leftover: u64,
    /// The manifest was made anew: each LSN is as it was.
    as_it_was: bool,
    /// Else: that of the first record in the new log, and its end.
    now: Option<(Lsn, Lsn)>,
    goes_on: Lsn,
    json: bool,
    bar: ProgressBar,
    begin: u64,
}

impl Findings {
    fn new(dir: &Path, json: bool) -> Findings {
        let summary = Inspector::open(dir).ok().map(|log| log.summary().clone());
        let (begin, total) = summary.map_or((0, 0), |summary| {
            let last = summary.segments.last().map_or(0, |s| s.base.get() + s.size);
            (summary.head.get(), last.saturating_sub(summary.head.get()))
        });
        let bar = out::bar("reading", total, total > 0);
        let (gaps, doubtful) = (Vec::new(), Vec::new());
        Findings {
            gaps,
            doubtful,
            leftover: 0,
            as_it_was: false,
            now: None,
            goes_on: Lsn::MIN,
            json,
            bar,
            begin,
        }
    }

    fn is_at(&self, found: &Found) {
        if let Found::Record(record) = found {
            self.bar.set_position(record.lsn.get().saturating_sub(self.begin));
        }
    }

    /// A record that is sound.
    fn pass(&mut self, found: Found) -> Option<(Lsn, Vec<u8>)> {
        self.is_at(&found);
        match found {
            Found::Record(record) => return Some((record.lsn, record.payload)),
            Found::Gap(gap) => {
                if !self.json {
                    self.bar.suspend(|| out::say(&gap));
                }
                self.gaps.push(gap);
            }
            Found::Doubtful(Doubtful { why: Doubt::Leftover, .. }) => self.leftover += 1,
            Found::Doubtful(Doubtful { record, why, .. }) => {
                if !self.json {
                    let line = format_args!("left out at LSN {}: {why}", record.lsn).to_string();
                    self.bar.suspend(|| out::say(line));
                }
                self.doubtful.push((record.lsn, why));
            }
            _ => {}
        }
        None
    }

    fn report(&self, args: &Args, report: &Report) -> Result<()> {
        if !self.json {
            let new = args.into.as_ref().filter(|_| !args.dry_run);
            // A terminal would obey what may be in a name.
            let new = new.map(|new| shown(new.as_os_str().as_bytes(), usize::MAX));
            let words = match new {
                Some(new) if self.as_it_was => {
                    let at = self.goes_on;
                    format!(
                        "copied into {new} with a new manifest, each LSN as it was; goes on at {at}"
                    )
                }
                Some(new) => format!("copied into {new}"),
                None => "would be copied".to_owned(),
            };
            out::print(&out::wrapped(&format!("{words}: {report}")))?;
            if let Some((first, end)) = self.now {
                out::print(&format!("their LSNs are new: {first} to {end}\n"))?;
            }
            if report.by_manifest && report.gaps == 0 && report.doubtful == 0 {
                out::say("nothing is missing: this log needs no repair");
            }
            return Ok(());
        }
        let Report { by_manifest, records, bytes, lsns, missing, missing_committed, .. } = report;
        let doubtful = self.doubtful.iter();
        out::print_json(&json!({
            "into": args.into.as_ref().filter(|_| !args.dry_run).map(|new| new.display().to_string()),
            "by_manifest": by_manifest, "lsns_as_they_were": self.as_it_was, "records": records, "bytes": bytes,
            "lsns": [lsns.start.get(), lsns.end.get()],
            "new_lsns": self.now.map(|(first, end)| [first.get(), end.get()]),
            "missing": missing, "missing_committed": missing_committed,
            "gaps": self.gaps.iter().map(verify::gap_json).collect::<Vec<_>>(),
            "doubtful": doubtful.map(|(lsn, why)| json!({"lsn": lsn.get(), "why": why.to_string()}))
                .collect::<Vec<_>>(),
            "left_over": self.leftover,
        }))
    }
}

/// The new log under way: under another name until it is whole, as is the map.
struct Repair<'a> {
    new: &'a Path,
    temp: TempDir,
    map: Option<BufWriter<Target>>,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Repair<'a> {
    fn new(args: &'a Args, new: &'a Path) -> Result<Repair<'a>> {
        let parent = parent(new);
        let temp = tempfile::Builder::new().prefix(".duralog-repair-").tempdir_in(parent);
        let temp = temp.with_context(|| parent.display().to_string())?;
        let map = args.lsn_map.as_deref().map(|file| Target::new(file).map(BufWriter::new));
        Ok(Repair { new, temp, map: map.transpose()?, interrupted: interrupt::watched()? })
    }

    fn run(mut self, args: &Args, findings: &mut Findings) -> Result<Report> {
        let dir = self.temp.path().join("log");
        findings.as_it_was = Salvage::rebuild(&args.dir, &dir)?.is_some();
        let report = if findings.as_it_was {
            self.check(args, findings, &dir)?
        } else {
            self.copy(args, findings, &dir)?
        };
        if let Some(map) = self.map.take() {
            map.into_inner().map_err(|e| e.into_error()).context("the map of LSNs")?.finish()?;
        }
        self.publish(&dir)?;
        Ok(report)
    }

    /// The one whose manifest was made anew holds what the salvage finds in the old one.
    fn check(&mut self, args: &Args, findings: &mut Findings, dir: &Path) -> Result<Report> {
        let mut salvage = Salvage::open(&args.dir)?;
        let log = options(salvage.largest_segment()).open(dir)?;
        let mut copied = log.replay();
        for found in salvage.by_ref() {
            self.go_on()?;
            let Some((lsn, payload)) = findings.pass(found) else { continue };
            let same = copied.next_payload()?.is_some_and(|copied| copied == (lsn, &payload[..]));
            ensure!(same, "the record at LSN {lsn} is not in the copy: has the log changed since?");
            self.moved(lsn, lsn)?;
        }
        findings.goes_on = log.end();
        log.close().context("close")?;
        Ok(salvage.report().clone())
    }

    fn copy(&mut self, args: &Args, findings: &mut Findings, dir: &Path) -> Result<Report> {
        // What is kept is known only in the end, and needed on the way.
        let mut before = Salvage::open(&args.dir)?;
        for found in before.by_ref() {
            self.go_on()?;
            findings.is_at(&found);
        }
        let kept = before.kept();
        let mut positions: Vec<_> =
            kept.consumers.iter().map(|c| (c.position, c.name.as_str(), None)).collect();
        positions.sort_unstable_by_key(|(position, ..)| *position);

        let log = options(before.largest_segment()).open(dir)?;
        log.reset_to(before.beyond())?;
        let mut salvage = Salvage::open(&args.dir)?;
        for found in salvage.by_ref() {
            self.go_on()?;
            let Some((old, payload)) = findings.pass(found) else { continue };
            let now = log.append(&payload).with_context(|| format!("the record at LSN {old}"))?;
            findings.now = Some((findings.now.map_or(now, |(first, _)| first), log.end()));
            for (_, _, next) in positions.iter_mut().take_while(|(position, ..)| *position <= old) {
                next.get_or_insert(now);
            }
            self.moved(old, now)?;
        }
        let end = log.commit()?;
        for (_, name, next) in positions {
            log.consumer(name)?.seek(next.unwrap_or(end))?;
        }
        if !kept.metadata.is_empty() {
            log.set_metadata(&kept.metadata)?;
        }
        log.commit()?;
        log.close().context("close")?;
        Ok(salvage.report().clone())
    }

    /// Else what was copied by then goes with the directory that it is in.
    fn go_on(&self) -> Result<()> {
        ensure!(!self.interrupted.load(Ordering::Acquire), "interrupted");
        Ok(())
    }

    fn moved(&mut self, old: Lsn, now: Lsn) -> Result<()> {
        match &mut self.map {
            Some(map) => writeln!(map, "{old}\t{now}").context("the map of LSNs"),
            None => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "of a log that is closed, as a whole")]
    fn publish(&self, dir: &Path) -> Result<()> {
        let named = || self.new.display().to_string();
        // It would replace an empty directory.
        ensure!(!self.new.try_exists()?, "{} exists already", self.new.display());
        std::fs::rename(dir, self.new).with_context(named)?;
        File::open(parent(self.new)).and_then(|dir| out::sync(&dir)).with_context(named)
    }
}

/// Of a log whose largest segment has this size; 0: it has none.
fn options(segment_size: u64) -> Options {
    let options = Options::new();
    any_record(if segment_size == 0 { options } else { options.segment_size(segment_size) })
}
