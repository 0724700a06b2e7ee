//! What the system tells of a run: bytes written, flushes of the disk, memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Counters that only grow; the difference of two is what happened between.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    /// KiB that this process had written, by pages that it made dirty (`/proc/self/io`).
    pub process_kib: f64,
    /// KiB written to the block device, by everyone (`/sys/dev/block`).
    pub disk_kib: f64,
    /// Flushes of the block device's cache, by everyone.
    pub flushes: f64,
}

impl Counters {
    /// As of now; `dir` says which disk.
    pub fn now(dir: &Path) -> Counters {
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let written = field_after(&io, "write_bytes:");
        let disk = fs::metadata(dir).ok().map(|meta| meta.dev()).map(|dev| {
            let (major, minor) = (dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & 0xfff00);
            fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default()
        });
        let disk: Vec<f64> =
            disk.unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
        // Documentation/block/stat.rst: the 7th field counts sectors of 512 bytes written, the 16th flushes.
        let field = |n: usize| disk.get(n - 1).copied().unwrap_or(0.0);
        Counters { process_kib: written / 1024.0, disk_kib: field(7) / 2.0, flushes: field(16) }
    }

    pub fn since(self, before: Counters) -> Counters {
        Counters {
            process_kib: self.process_kib - before.process_kib,
            disk_kib: self.disk_kib - before.disk_kib,
            flushes: self.flushes - before.flushes,
        }
    }
}

/// Peak of all resident memory, and private memory at the end, in MiB. What is mapped from files counts in the first alone.
pub fn memory() -> (f64, f64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    (field_after(&status, "VmHWM:") / 1024.0, field_after(&status, "RssAnon:") / 1024.0)
}

fn field_after(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}
