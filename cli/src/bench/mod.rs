//! `duralog bench`: what this machine and this directory are good for.

mod bars;
mod busy;
mod figures;
mod machine;
mod measure;
mod rounds;
mod scratch;
mod svg;
mod table;
mod verdict;
mod words;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Result;
use bytesize::ByteSize;

use self::figures::{Report, Settings};
use self::machine::Machine;
use self::scratch::Scratch;
use crate::target::Target;
use crate::{interrupt, out};

/// Measure a machine and a directory, and what limits.
///
/// Works in a directory of its own inside DIR, and removes it. Rates are medians of interleaved rounds, latencies are of
/// all rounds together.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog bench /var/lib/my-database --svg bench.svg")]
pub(crate) struct Args {
    /// Directory on the disk to measure; made if there is none, and removed again
    dir: PathBuf,
    /// How many threads commit at once, one cell for each
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1,8,64")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Sizes of records
    #[arg(long, value_name = "BYTES,..", value_delimiter = ',', default_value = "100,1KiB,16KiB")]
    #[arg(value_parser = record_size)]
    sizes: Vec<u64>,
    /// How often each cell is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds of a cell
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// A first look: 100 bytes, 1 and 8 threads, one round, 200 ms each
    #[arg(long, conflicts_with_all = ["threads", "sizes", "rounds", "millis"])]
    quick: bool,
    /// Size of a segment
    #[arg(long, value_name = "BYTES", default_value = "64MiB")]
    segment_size: ByteSize,
    /// The system call that syncs
    #[arg(long, value_enum, default_value_t = SyncMethod::Fdatasync)]
    sync_method: SyncMethod,
    /// How records are written; auto asks the file system
    #[arg(long, value_enum, default_value_t = WriteMethod::Auto)]
    write_method: WriteMethod,
    /// Everything as JSON, units in the keys
    #[arg(long, conflicts_with = "plot")]
    json: bool,
    /// Plots in text also where standard output is no terminal
    #[arg(long)]
    plot: bool,
    /// Plots as a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum SyncMethod {
    Fdatasync,
    Msync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum WriteMethod {
    Auto,
    Mmap,
    Pwrite,
}

/// What a log takes by default, and one byte at least.
fn record_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse()?;
    let size = size.as_u64();
    if (1..=16 << 20).contains(&size) { Ok(size) } else { Err("not in 1 to 16MiB".into()) }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let stop = interrupt::watched()?;
    let picture = args.svg.as_deref().map(Target::picture).transpose()?;
    let settings = args.settings();
    let scratch = Scratch::new(&args.dir)?;
    let machine = Machine::of(scratch.path())?;
    scratch::check_room(machine.free_bytes, settings.needed_bytes(), &args.dir)?;
    let figures = rounds::run(&settings, scratch.path(), machine.cpus, &stop)?;
    scratch.remove()?;
    let report = Report::new(machine, settings, figures);
    if args.json {
        out::print_json(&report)?;
    } else {
        let plotted = args.plot || io::stdout().is_terminal();
        out::print(&table::whole(&report, plotted))?;
    }
    match picture {
        Some(picture) => svg::write(&report, picture),
        None => Ok(()),
    }
}

impl Args {
    fn settings(&self) -> Settings {
        let mut settings = Settings {
            segment_bytes: self.segment_size.as_u64(),
            sync_method: self.sync_method,
            write_method: self.write_method,
            threads: self.threads.clone(),
            record_bytes: self.sizes.clone(),
            rounds: self.rounds,
            cell_ms: self.millis,
        };
        if self.quick {
            settings.threads = vec![1, 8];
            settings.record_bytes = vec![100];
            (settings.rounds, settings.cell_ms) = (1, 200);
        }
        settings.threads.sort_unstable();
        settings.threads.dedup();
        settings.record_bytes.sort_unstable();
        settings.record_bytes.dedup();
        settings
    }
}
