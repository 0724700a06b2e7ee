//! The command line of duralog: append, replay, verify, inspect, checkpoint.

mod append;
mod checkpoint;
mod inspect;
mod replay;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use duralog::Options;
use duralog::inspect::Inspector;

/// A durable log in a directory.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(append::Arguments),
    Replay(replay::Arguments),
    Verify(verify::Arguments),
    Inspect(inspect::Arguments),
    Checkpoint(checkpoint::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Append(arguments) => append::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Checkpoint(arguments) => checkpoint::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("duralog: {error:#}");
            let usage = error.downcast_ref().is_some_and(|e| matches!(e, duralog::Error::InvalidOption { .. }));
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Options for the log in `dir`: a log that exists goes on with the segment size it has.
fn options_for(dir: &Path, segment_size: Option<u64>) -> Options {
    let present = || Some(Inspector::open(dir).ok()?.summary().segments.last()?.size);
    match segment_size.or_else(present) {
        Some(bytes) => Options::new().segment_size(bytes),
        None => Options::new(),
    }
}

/// Whoever read our output went away: no error, there is nothing left to do.
fn unless_broken_pipe(result: std::io::Result<()>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(anyhow::Error::new(e).context("cannot write to standard output")),
    }
}
