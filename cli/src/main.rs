//! `duralog`: a log from the command line. Each command is a file.

mod append;
mod checkpoint;
mod inspect;
mod lines;
mod opening;
mod replay;
mod verify;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use duralog::inspect::Inspector;

/// A log that survives crashes, one record a line.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(append::Args),
    Replay(replay::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
    Checkpoint(checkpoint::Args),
}

/// As clap exits when the arguments are wrong.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Append(args) => append::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Checkpoint(args) => checkpoint::run(&args),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    say(format_args!("duralog: {}", in_words(&error)));
    match error.downcast_ref() {
        Some(duralog::Error::InvalidOption { .. }) => ExitCode::from(WRONG_USAGE),
        _ => ExitCode::FAILURE,
    }
}

/// The error and its causes, those left out that the words before already name.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// A line to standard error. If no one can read it there is no one to tell.
fn say(line: impl Display) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Writes to standard output at once; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(no_output(e)),
        _ => Ok(()),
    }
}

fn no_output(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("standard output")
}

/// The options to open the log in `dir`: if there is one, it keeps its segment size. That of its largest: an open on a full
/// disk makes a small one to go on in.
fn options_for(dir: &Path) -> duralog::Options {
    // A log that cannot be read is reported by the open that follows.
    let log = Inspector::open(dir).ok();
    let largest = log.and_then(|log| log.summary().segments.iter().map(|s| s.size).max());
    let options = opening::shown(duralog::Options::new());
    match largest {
        Some(size) => options.segment_size(size),
        None => options,
    }
}
