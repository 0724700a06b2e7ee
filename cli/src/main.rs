//! `duralog`: a log from the command line. Each command is a file or a folder.

mod append;
mod bench;
mod checkpoint;
mod consumers;
mod dump;
mod export;
mod import;
mod inspect;
mod interrupt;
mod lines;
mod ls;
mod map;
mod opening;
mod out;
mod owner;
mod records;
mod repair;
mod replay;
mod shell;
mod stat;
mod tail;
mod target;
mod torture;
mod truncate;
mod verify;

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::builder::Styles;
use clap::{Parser, Subcommand};
use duralog::inspect::Inspector;

use crate::out::{say, say_styled};

/// A log that survives crashes, one record a line.
#[derive(Debug, Parser)]
#[command(name = "duralog", version, propagate_version = true, arg_required_else_help = true, styles = Styles::plain(), term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(append::Args),
    Import(import::Args),
    Replay(replay::Args),
    Tail(tail::Args),
    Export(export::Args),
    Ls(ls::Args),
    Inspect(inspect::Args),
    Dump(dump::Args),
    Stat(stat::Args),
    Consumers(consumers::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Checkpoint(checkpoint::Args),
    Truncate(truncate::Args),
    Bench(bench::Args),
    Torture(torture::Args),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Command {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Command::Append(args) => append::run(args),
            Command::Import(args) => import::run(args),
            Command::Replay(args) => replay::run(args),
            Command::Tail(args) => tail::run(args),
            Command::Export(args) => export::run(args),
            Command::Ls(args) => ls::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Dump(args) => dump::run(args),
            Command::Stat(args) => stat::run(args),
            Command::Consumers(args) => consumers::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Repair(args) => repair::run(args),
            Command::Checkpoint(args) => checkpoint::run(args),
            Command::Truncate(args) => truncate::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Torture(args) => torture::run(args),
            Command::Completions(args) => shell::completions(args),
            Command::Man(args) => shell::man(args),
        }
    }
}

/// As clap exits when the arguments are wrong.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match torture::part() {
        Some(part) => part.run(),
        None => match Cli::try_parse() {
            Ok(cli) => cli.command.run(),
            Err(asked) => {
                let code = u8::try_from(asked.exit_code()).unwrap_or(WRONG_USAGE);
                // Help and the version are no errors, unless no one can be given them.
                return match asked.print() {
                    Err(e) if code == 0 && e.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
                    _ => ExitCode::from(code),
                };
            }
        },
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    let name = console::style("duralog:").for_stderr().red().bold();
    // Names of files may hold what a terminal would obey.
    say_styled(format_args!("{name} {}", records::shown(in_words(&error).as_bytes(), usize::MAX)));
    if let Some(hint) = hint(&error) {
        say(hint);
    }
    match error.downcast_ref() {
        Some(duralog::Error::InvalidOption { .. }) => ExitCode::from(WRONG_USAGE),
        _ => ExitCode::FAILURE,
    }
}

/// What to do about it.
fn hint(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<duralog::Error>()? {
        duralog::Error::Corrupt(at) if at.path.ends_with("MANIFEST") => {
            Some("see duralog repair --help: it makes a new one from the segments".to_owned())
        }
        duralog::Error::Full { limit: duralog::Limit::Format, .. } => None,
        error if error.is_full() => {
            Some("make room, or see who holds the log: duralog consumers".to_owned())
        }
        duralog::Error::Corrupt(_) => Some(
            "go back to a backup, or see duralog repair --help: it copies all that is sound"
                .to_owned(),
        ),
        duralog::Error::Locked { dir } => {
            owner::of(dir).map(|pid| format!("it is open in process {pid}"))
        }
        _ => None,
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

/// The options to open the log in `dir`. Segments made from now on have `segment_size`; else the size of the log's largest,
/// since an open on a full disk makes a small one to go on in.
fn options_for(dir: &Path, segment_size: Option<ByteSize>) -> duralog::Options {
    // A log that cannot be read is reported by the open that follows.
    let largest = || Inspector::open(dir).ok()?.summary().segments.iter().map(|s| s.size).max();
    let options = opening::shown(duralog::Options::new());
    match segment_size.map(|size| size.as_u64()).or_else(largest) {
        Some(size) => any_record(options.segment_size(size)),
        None => any_record(options),
    }
}

/// Takes whatever fits in a segment: what one log holds, another takes.
fn any_record(options: duralog::Options) -> duralog::Options {
    let fits = options.largest_record();
    options.max_record_size(fits)
}
