//! `duralog consumers`: who works through the log, and who holds it.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use console::{Alignment, pad_str};
use duralog::Lsn;
use duralog::inspect::{Inspector, Kept, SegmentState, Summary};
use indicatif::BinaryBytes;
use serde::Serialize;

use crate::out;
use crate::records::shown;

/// Show the consumers, and who holds the log.
///
/// Where each stands, how much is before it, and what it holds. Needs no lock but to remove one. What a reader in the writer's own process holds is not seen from outside.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog consumers my-log")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Forget this consumer: it holds nothing back any more. Needs the lock
    #[arg(long, value_name = "NAME")]
    remove: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is shown: the keys of the JSON.
#[derive(Serialize)]
struct Shown {
    end: u64,
    checkpoint: u64,
    archived: Option<u64>,
    metadata_bytes: usize,
    consumers: Vec<Standing>,
    /// Who holds the oldest segment, if it is sealed.
    blockers: Vec<Standing>,
}

#[derive(Clone, Serialize)]
struct Standing {
    name: String,
    /// A consumer; or `archive`, `checkpoint`.
    kind: &'static str,
    position: u64,
    /// Bytes of the log from there to the end.
    lag: u64,
    /// A checkpoint went past it and gave back what it needs: it is told so when it goes on.
    passed: bool,
    /// Sealed segments that reach beyond the position, and bytes of their files.
    segments: usize,
    bytes: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.remove {
        return remove(args, name);
    }
    let log = Inspector::open(&args.dir)?;
    let kept = log.kept()?;
    // By the newest manifest: what is kept may be newer than the first one.
    let shown = Shown::new(Inspector::open(&args.dir)?.summary(), &kept);
    if args.json { out::print_json(&shown) } else { out::print(&table(&shown)?) }
}

fn remove(args: &Args, name: &str) -> Result<()> {
    let log = crate::options_for(&args.dir, None).create(false).open(&args.dir)?;
    let is_known = log.consumers()?.iter().any(|consumer| consumer.name == name);
    let removed = if is_known {
        log.consumer(name).and_then(|consumer| consumer.remove()).map_err(Into::into)
    } else {
        Err(anyhow::anyhow!("there is no consumer {name:?}"))
    };
    let closed = log.close().context("close");
    removed?;
    closed?;
    out::say(format_args!("consumer {name:?} is forgotten"));
    Ok(())
}

impl Shown {
    fn new(summary: &Summary, kept: &Kept) -> Shown {
        let end = kept.end.get();
        let stands = |name: &str, kind, position: Lsn| {
            let above = summary.segments.iter().filter(|segment| {
                segment.state == SegmentState::Sealed && segment.end.is_some_and(|e| e > position)
            });
            Standing {
                name: name.to_owned(),
                kind,
                position: position.get(),
                passed: kind == "consumer"
                    && position < summary.head
                    && (summary.checkpoint.get() == 0 || position < summary.checkpoint),
                lag: end.saturating_sub(position.get()),
                segments: above.clone().count(),
                bytes: above.map(|segment| segment.size).sum(),
            }
        };
        let consumers: Vec<Standing> =
            kept.consumers.iter().map(|c| stands(&c.name, "consumer", c.position)).collect();
        let mut holders = vec![stands("(checkpoint)", "checkpoint", summary.checkpoint)];
        holders.extend(kept.archived.map(|to| stands("(archive)", "archive", to)));
        holders.extend(consumers.iter().cloned());
        let sealed = summary.segments.iter().filter(|s| s.state == SegmentState::Sealed).count();
        holders.retain(|holder| sealed > 0 && holder.segments == sealed);
        Shown {
            end,
            checkpoint: summary.checkpoint.get(),
            archived: kept.archived.map(Lsn::get),
            metadata_bytes: kept.metadata.len(),
            consumers,
            blockers: holders,
        }
    }
}

/// Columns of a name; --json has all of it.
const NAME: usize = 20;

fn table(shown: &Shown) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let (name, position, lag, holds) = ("consumer", "position", "lag", "holds");
    writeln!(text, "{name:<NAME$} {position:>19} {lag:>11}  {holds}")?;
    for standing in &shown.consumers {
        writeln!(text, "{}", row(standing))?;
    }
    if shown.consumers.is_empty() {
        writeln!(text, "none")?;
    }
    writeln!(text, "\nend {}, checkpoint {}", shown.end, shown.checkpoint)?;
    if let Some(archived) = shown.archived {
        writeln!(text, "archived up to {archived}")?;
    }
    if shown.metadata_bytes > 0 {
        writeln!(text, "metadata of {} bytes", shown.metadata_bytes)?;
    }
    if !shown.blockers.is_empty() {
        writeln!(text, "\nthe oldest segment is held by")?;
        for standing in &shown.blockers {
            writeln!(text, "{}", row(standing))?;
        }
    }
    Ok(text)
}

fn row(standing: &Standing) -> String {
    let Standing { name, position, lag, segments, bytes, passed, .. } = standing;
    let (lag, bytes) = (BinaryBytes(*lag).to_string(), BinaryBytes(*bytes));
    // Names come from whoever wrote the log.
    let name = shown(name.as_bytes(), usize::MAX);
    let name = pad_str(&name, NAME, Alignment::Left, Some("…"));
    if *passed {
        return format!("{name} {position:>19} {lag:>11}  a checkpoint passed it");
    }
    format!("{name} {position:>19} {lag:>11}  {segments} sealed, {bytes}")
}
