//! `duralog truncate`: undoes the end of the log.

use std::path::PathBuf;

use anyhow::{Context, Result};
use duralog::Lsn;

use crate::out;

/// Cut away every record behind LSN.
///
/// They are gone for good, and their LSNs name nothing ever again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog truncate my-log --after 4112")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// The last record that stays
    #[arg(long, value_name = "LSN")]
    after: Lsn,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = crate::options_for(&args.dir, None).create(false).open(&args.dir)?;
    let cut = log.truncate_after(args.after);
    let end = log.end();
    let closed = log.close().context("close");
    cut?;
    out::say(format_args!("the log ends behind LSN {}, and goes on at {end}", args.after));
    closed
}
