//! `duralog`: a log from the command line. Each command is a file or a folder.

mod append;
mod bench;
mod checkpoint;
mod inspect;
mod lines;
mod opening;
mod out;
mod replay;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use duralog::inspect::Inspector;

use crate::out::say;

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
    Bench(bench::Args),
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
        Command::Bench(args) => bench::run(&args),
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
