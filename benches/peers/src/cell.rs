//! The cells of the table: what is done, by how many threads, with records of what size.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Each record durable before the next of its thread.
    Durable,
    /// The same in a log that has been in use for long: what is durable is given back now and then.
    Recycled,
    /// Groups of a hundred records, each group durable before the next of its thread.
    Batch,
    /// As fast as it goes, then one sync; the time of the sync counts.
    Buffered,
    /// A million JSON events of eight threads, encoded on the way, then one sync.
    Events,
    /// Open a log of a million records and read them all.
    Replay,
    /// Open a log of 1 GiB that was closed.
    OpenClean,
    /// Open a log of 1 GiB whose process was killed.
    OpenKilled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    pub work: Work,
    pub threads: usize,
    pub size: usize,
}

pub const BATCH: usize = 100;
pub const REPLAYED: usize = 1_000_000;
pub const EVENTS: usize = 1_000_000;
pub const OPENED: usize = 1 << 30;

impl Cell {
    const fn new(work: Work, threads: usize, size: usize) -> Cell {
        Cell { work, threads, size }
    }

    pub fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for threads in [1, 8, 64] {
            cells.extend([100, 1024, 16384].map(|size| Cell::new(Work::Durable, threads, size)));
        }
        cells.push(Cell::new(Work::Recycled, 1, 1024));
        cells.extend([1, 8, 64].map(|threads| Cell::new(Work::Recycled, threads, 16384)));
        for threads in [1, 8] {
            cells.extend([100, 1024].map(|size| Cell::new(Work::Batch, threads, size)));
        }
        for threads in [1, 8] {
            cells.extend([100, 1024, 16384].map(|size| Cell::new(Work::Buffered, threads, size)));
        }
        cells.push(Cell::new(Work::Events, 8, 0));
        cells.push(Cell::new(Work::Replay, 1, 100));
        cells.push(Cell::new(Work::OpenClean, 1, 16384));
        cells.push(Cell::new(Work::OpenKilled, 1, 16384));
        cells
    }

    /// How many records a run of the cell appends; none if it runs for a time.
    pub fn records(&self) -> Option<usize> {
        match self.work {
            Work::Durable | Work::Recycled | Work::Batch => None,
            // About 110 MB of small records, 256 MiB of larger ones.
            Work::Buffered => Some(1_000_000.min((256 << 20) / self.size)),
            Work::Events => Some(EVENTS),
            Work::Replay => Some(REPLAYED),
            Work::OpenClean | Work::OpenKilled => Some(OPENED / self.size),
        }
    }

    /// Each call waits for the disk.
    pub fn is_durable(&self) -> bool {
        matches!(self.work, Work::Durable | Work::Recycled | Work::Batch)
    }

    /// Whether a limit can do it: it appends.
    pub fn has_limit(&self) -> bool {
        !matches!(self.work, Work::Replay | Work::OpenClean | Work::OpenKilled)
    }

    /// The figure is a time in milliseconds, and less is better.
    pub fn is_time(&self) -> bool {
        matches!(self.work, Work::OpenClean | Work::OpenKilled)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { work, threads, size } = self;
        match work {
            Work::Durable => write!(f, "durable-{threads}x{size}"),
            Work::Recycled => write!(f, "recycled-{threads}x{size}"),
            Work::Batch => write!(f, "batch-{threads}x{size}"),
            Work::Buffered => write!(f, "buffered-{threads}x{size}"),
            Work::Events => f.write_str("events"),
            Work::Replay => f.write_str("replay"),
            Work::OpenClean => f.write_str("open-clean"),
            Work::OpenKilled => f.write_str("open-killed"),
        }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Cell, String> {
        let found = Cell::all().into_iter().find(|cell| cell.to_string() == name);
        found.ok_or_else(|| format!("no cell is called {name}"))
    }
}
