//! `duralog verify`: whether every committed byte is sound.

use std::path::PathBuf;

use anyhow::Result;
use duralog::Tail;
use duralog::inspect::Inspector;

use crate::out;

/// Read everything and say whether it is sound. Needs no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog verify my-log && cp -r my-log my-copy")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let found = Inspector::open(&args.dir)?.verify()?;
    let tail = match found.tail {
        Tail::Clean => "closed cleanly".to_owned(),
        Tail::Unclean { .. } => "open, or not closed cleanly".to_owned(),
        Tail::Torn { at } => format!("a torn tail, never acknowledged, begins at LSN {at}"),
        _ => "open".to_owned(),
    };
    out::print(&format!(
        "sound: {} records, {} bytes, end {}, {} segments; {tail}\n",
        found.records, found.bytes, found.end, found.segments
    ))
}
