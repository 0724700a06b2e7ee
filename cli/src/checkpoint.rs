//! `duralog checkpoint`: what lies before an LSN is no longer needed.

use std::path::PathBuf;

use anyhow::{Context, Result};
use duralog::Lsn;

use crate::out;

/// Give segments back: nothing before LSN is needed.
///
/// Whole segments below it are recycled or deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog checkpoint my-log 65536")]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// The first position that is still needed
    #[arg(group = "where")]
    lsn: Option<Lsn>,
    /// Up to where the slowest consumer is
    #[arg(long, group = "where")]
    to_slowest: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = crate::options_for(&args.dir, None).create(false).open(&args.dir)?;
    let reclaimed = match args.lsn {
        Some(lsn) => log.checkpoint(lsn),
        None => log.checkpoint_to_slowest(),
    };
    let now = log.checkpoint_lsn();
    let closed = log.close().context("close");
    let reclaimed = reclaimed?;
    out::say(format_args!(
        "checkpoint at LSN {now}: {} segments, {} bytes given back",
        reclaimed.segments, reclaimed.bytes
    ));
    closed
}
