//! `duralog verify`: reads everything.

use std::io::Write;
use std::path::PathBuf;

use duralog::Tail;
use duralog::inspect::Inspector;

/// Read everything and check it.
///
/// Takes no lock and changes nothing. Exit 0 if all that was committed is sound, 1 with segment, offset and
/// LSN if it is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog verify my-log && echo sound")]
pub(crate) struct Arguments {
    /// The log's directory.
    dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let found = Inspector::open(&arguments.dir)?.verify()?;
    let tail = match found.tail {
        Tail::Torn { at } => format!("not closed; a torn tail begins at LSN {at}, and recovery will cut it"),
        Tail::Unclean { .. } => "not closed, nothing torn".to_owned(),
        _ => "closed cleanly".to_owned(),
    };
    let (records, bytes, segments, end) = (found.records, found.bytes, found.segments, found.end);
    let line = format!("sound: {records} records, {bytes} bytes in {segments} segments, to LSN {end}; {tail}\n");
    crate::unless_broken_pipe(std::io::stdout().write_all(line.as_bytes()))?;
    Ok(())
}
