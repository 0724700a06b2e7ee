//! `duralog checkpoint`: gives segments back.

use std::path::PathBuf;

use duralog::Lsn;

/// Say that no record before LSN is needed any more, and give whole segments below it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog checkpoint my-log 1048576")]
pub(crate) struct Arguments {
    /// The log's directory.
    dir: PathBuf,
    /// The first position that is still needed.
    lsn: Lsn,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let log = crate::options_for(&arguments.dir, None).create(false).open(&arguments.dir)?;
    let given_back = log.checkpoint(arguments.lsn);
    log.close()?;
    let given_back = given_back?;
    eprintln!(
        "{} segments, {} bytes given back; the log begins at LSN {}",
        given_back.segments,
        given_back.bytes,
        log.head()
    );
    Ok(())
}
