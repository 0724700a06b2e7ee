//! `duralog inspect`: what the manifest says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use duralog::inspect::{Inspector, Summary};
use serde::Serialize;

/// Show positions and segments.
///
/// Takes no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog inspect my-log --json")]
pub(crate) struct Arguments {
    /// The log's directory.
    dir: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// The names that programs may rely on.
#[derive(Serialize)]
struct Report {
    log_id: String,
    generation: u64,
    head: u64,
    checkpoint: u64,
    durable: u64,
    clean_end: Option<u64>,
    segments: Vec<Segment>,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    id: u64,
    state: String,
    salt: String,
    base: u64,
    end: Option<u64>,
    size: u64,
}

fn report(summary: &Summary) -> Report {
    let segments = summary.segments.iter().map(|s| Segment {
        file: s.file.clone(),
        id: s.id,
        state: s.state.to_string(),
        salt: format!("{:016x}", s.salt),
        base: s.base.get(),
        end: s.end.map(duralog::Lsn::get),
        size: s.size,
    });
    Report {
        log_id: summary.log_id.clone(),
        generation: summary.generation,
        head: summary.head.get(),
        checkpoint: summary.checkpoint.get(),
        durable: summary.durable.get(),
        clean_end: summary.clean_end.map(duralog::Lsn::get),
        segments: segments.collect(),
    }
}

fn table(report: &Report) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let clean = report.clean_end.map_or("open, or not closed".to_owned(), |end| format!("closed at {end}"));
    writeln!(text, "log         {}, manifest {}", report.log_id, report.generation)?;
    writeln!(text, "head        {}", report.head)?;
    writeln!(text, "checkpoint  {}", report.checkpoint)?;
    writeln!(text, "durable     {} at least", report.durable)?;
    writeln!(text, "end         {clean}")?;
    writeln!(text, "{:<20} {:<6} {:>16} {:>14} {:>14} {:>11}", "file", "state", "salt", "base", "end", "size")?;
    for s in &report.segments {
        let end = s.end.map_or("-".to_owned(), |end| end.to_string());
        writeln!(text, "{:<20} {:<6} {} {:>14} {end:>14} {:>11}", s.file, s.state, s.salt, s.base, s.size)?;
    }
    Ok(text)
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let inspector = Inspector::open(&arguments.dir)?;
    let report = report(inspector.summary());
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { table(&report)? };
    crate::unless_broken_pipe(std::io::stdout().write_all(text.as_bytes()))?;
    Ok(())
}
