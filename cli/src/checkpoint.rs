//! `duralog checkpoint`: what lies before an LSN is no longer needed.

use std::path::PathBuf;

use anyhow::{Context, Result};
use duralog::Lsn;

use crate::out;

/// Say that no record before LSN is needed any more, and give whole segments back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog checkpoint my-log 65536")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// The first position that is still needed
    lsn: Lsn,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = crate::options_for(&args.dir).create(false).open(&args.dir)?;
    let reclaimed = log.checkpoint(args.lsn);
    let now = log.checkpoint_lsn();
    let closed = log.close().context("close");
    let reclaimed = reclaimed?;
    out::say(format_args!(
        "checkpoint at LSN {now}: {} segments, {} bytes given back",
        reclaimed.segments, reclaimed.bytes
    ));
    closed
}
