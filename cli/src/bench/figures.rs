//! The report: its fields are the keys of the JSON.

use serde::Serialize;

use super::machine::Machine;
use super::{SyncMethod, WriteMethod, measure, verdict};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) verdict: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) segment_bytes: u64,
    pub(crate) sync_method: SyncMethod,
    pub(crate) write_method: WriteMethod,
    /// Ascending, as are the sizes.
    pub(crate) threads: Vec<u32>,
    pub(crate) record_bytes: Vec<u64>,
    pub(crate) rounds: u32,
    pub(crate) cell_ms: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// One thread that writes into written space and syncs: the ceiling of the disk.
    pub(crate) bare_loop: Vec<Commits>,
    /// Of each size, of each number of threads.
    pub(crate) durable: Vec<Commits>,
    pub(crate) bulk: Vec<Bulk>,
    /// What all but this program took of the processors meanwhile, a hypervisor included. None if it cannot be known.
    pub(crate) others_cpu_share: Option<f64>,
}

/// Records that are each durable before the next of its thread.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Commits {
    pub(crate) record_bytes: u64,
    pub(crate) threads: u32,
    pub(crate) commits_per_second: f64,
    pub(crate) slowest_round_per_second: f64,
    pub(crate) fastest_round_per_second: f64,
    pub(crate) mb_per_second: f64,
    pub(crate) ratio_to_bare_loop: f64,
    pub(crate) latency_p50_us: f64,
    pub(crate) latency_p99_us: f64,
    pub(crate) latency_p999_us: f64,
    pub(crate) latency_max_us: f64,
    pub(crate) records_per_sync: f64,
    /// None where the system does not count it.
    pub(crate) written_kib_per_sync: Option<f64>,
    /// Of all processors, 0 to 1.
    pub(crate) cpu_share: f64,
}

/// Many records and one commit, then a walk over them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Bulk {
    pub(crate) record_bytes: u64,
    /// Without the commit.
    pub(crate) appends_per_second: f64,
    /// From the first append to the end of the commit.
    pub(crate) committed_per_second: f64,
    pub(crate) committed_mb_per_second: f64,
    pub(crate) replayed_per_second: f64,
    pub(crate) replayed_mb_per_second: f64,
}

impl Report {
    pub(crate) fn new(machine: Machine, settings: Settings, figures: Figures) -> Report {
        let mut report = Report { machine, settings, figures, verdict: Vec::new() };
        report.verdict = verdict::of(&report);
        report
    }

    /// One size, by ascending threads.
    pub(crate) fn durable_of(&self, record_bytes: u64) -> impl Iterator<Item = &Commits> {
        self.figures.durable.iter().filter(move |cell| cell.record_bytes == record_bytes)
    }

    /// The highest rate of one size.
    pub(crate) fn most_of(&self, bare: &Commits) -> f64 {
        let rates = self.durable_of(bare.record_bytes).map(|cell| cell.commits_per_second);
        rates.fold(bare.commits_per_second, f64::max).max(1.0)
    }
}

impl Settings {
    /// How large the log may grow: so much that most disks do not reach it in a cell. Those that do give the oldest
    /// segments back meanwhile.
    pub(crate) fn cap_bytes(&self) -> u64 {
        let cap = self.segment_bytes.saturating_mul(8).clamp(128 << 20, 512 << 20);
        cap.max(self.segment_bytes.saturating_mul(4))
    }

    /// What the appends of a buffered run come to at most: it is all there to be replayed, and a slow disk takes it in time.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        (self.cap_bytes() / 4).min(128 << 20)
    }

    /// The log, a segment on its way, the file of the bare loop, and a little for the file system.
    pub(crate) fn needed_bytes(&self) -> u64 {
        let files = self.cap_bytes().saturating_add(self.segment_bytes);
        files.saturating_add(measure::BARE_FILE).saturating_add(32 << 20)
    }

    pub(crate) fn options(&self) -> duralog::Options {
        let largest = self.record_bytes.last().copied().unwrap_or(0);
        duralog::Options::new()
            .segment_size(self.segment_bytes)
            // Refused by the open if no segment holds it.
            .max_record_size(usize::try_from(largest).unwrap_or(usize::MAX))
            .max_bytes(self.cap_bytes(), duralog::WhenFull::DropOldest)
            .sync_method(match self.sync_method {
                SyncMethod::Fdatasync => duralog::SyncMethod::Fdatasync,
                SyncMethod::Msync => duralog::SyncMethod::Msync,
            })
            .write_method(match self.write_method {
                WriteMethod::Auto => duralog::WriteMethod::Auto,
                WriteMethod::Mmap => duralog::WriteMethod::Mmap,
                WriteMethod::Pwrite => duralog::WriteMethod::Pwrite,
            })
    }
}

impl Report {
    pub(crate) fn methods(&self) -> String {
        let write = match self.settings.write_method {
            WriteMethod::Auto => "auto",
            WriteMethod::Mmap => "mmap",
            WriteMethod::Pwrite => "pwrite",
        };
        let sync = match self.settings.sync_method {
            SyncMethod::Fdatasync => "fdatasync",
            SyncMethod::Msync => "msync",
        };
        format!("write method {write}, sync method {sync}")
    }
}

/// Made up: a disk of 5,600 flushes a second, as healthy as they come.
#[cfg(test)]
pub(crate) fn sample() -> Report {
    let commits = |record_bytes, threads, ratio: f64, records_per_sync| Commits {
        record_bytes,
        threads,
        commits_per_second: 5_600.0 * ratio,
        slowest_round_per_second: 5_500.0 * ratio,
        fastest_round_per_second: 5_700.0 * ratio,
        mb_per_second: 0.0056 * ratio * super::words::float(record_bytes),
        ratio_to_bare_loop: ratio,
        latency_p50_us: 175.0,
        latency_p99_us: 350.0,
        latency_p999_us: 700.0,
        latency_max_us: 1_800.0,
        records_per_sync,
        written_kib_per_sync: Some(4.0),
        cpu_share: 0.2,
    };
    let bulk = |record_bytes| Bulk {
        record_bytes,
        appends_per_second: 2e9 / super::words::float(record_bytes),
        committed_per_second: 1e9 / super::words::float(record_bytes),
        committed_mb_per_second: 1_000.0,
        replayed_per_second: 2e9 / super::words::float(record_bytes),
        replayed_mb_per_second: 2_000.0,
    };
    let sizes = [100, 16384];
    let durable = vec![
        commits(100, 1, 0.93, 1.0),
        commits(100, 8, 7.3, 7.9),
        commits(100, 64, 26.0, 40.0),
        commits(16384, 1, 0.93, 1.0),
        commits(16384, 8, 2.2, 6.0),
        commits(16384, 64, 4.0, 20.0),
    ];
    let figures = Figures {
        bare_loop: sizes.map(|bytes| commits(bytes, 1, 1.0, 1.0)).into(),
        durable,
        bulk: sizes.map(bulk).into(),
        others_cpu_share: Some(0.02),
    };
    let machine = Machine {
        directory: "/var/lib/my-database".into(),
        file_system: "ext4".into(),
        mount_options: "rw,relatime".into(),
        device: "/dev/vda".into(),
        write_cache: Some("write back".into()),
        free_bytes: 80 << 30,
        kernel: "6.18.0".into(),
        cpus: 2,
    };
    let settings = Settings {
        segment_bytes: 64 << 20,
        sync_method: SyncMethod::Fdatasync,
        write_method: WriteMethod::Auto,
        threads: vec![1, 8, 64],
        record_bytes: sizes.into(),
        rounds: 3,
        cell_ms: 500,
    };
    Report::new(machine, settings, figures)
}
