//! Of the disk and what lies around it.

use crate::bench::figures::Report;
use crate::bench::words::{count, size, threads, time, times};

/// Half a turn of a disk of 7,200 a minute takes 4 ms, a page of any flash in good health less than this.
const SLOWEST_FLASH_US: f64 = 5_000.0;
/// A record of a KiB touches two pages of 4 KiB at most, a mark and what is filled ahead as much again: above 16 KiB
/// something else writes.
const MOST_KIB: f64 = 17.0;
const SMALL_RECORD: u64 = 1024;
/// Who comes behind one flush of another waits twice as long; behind nine, others are at work.
const LONG_TAIL: f64 = 10.0;
/// So near to the rate in bulk, there is less to gain from fewer flushes than from fewer bytes.
const NEAR_BULK: f64 = 0.7;
/// Smaller records are bound by flushes and the CPU, even if their bytes come to much.
const LARGE_RECORD: u64 = 4096;

pub(super) fn slow_flush(report: &Report) -> Option<String> {
    let (machine, bare) = (&report.machine, report.flush()?);
    if machine.is_memory() || bare.latency_p50_us <= SLOWEST_FLASH_US {
        return None;
    }
    Some(format!(
        "A write and its flush take {}, as on a spinning disk or a network volume: no thread that \
         waits for each record gets past {} a second. Move the log to a local SSD with power-loss \
         protection, or let more records share a flush: append_batch, more committers at once, \
         tickets (when_durable), or in_background if the last moments may be lost.",
        time(bare.latency_p50_us),
        count(bare.commits_per_second)
    ))
}

pub(super) fn bandwidth(report: &Report) -> Option<String> {
    let bulk = report.figures.bulk.last().filter(|bulk| bulk.record_bytes >= LARGE_RECORD)?;
    let most = report.durable_of(bulk.record_bytes).last()?;
    let share = most.mb_per_second / bulk.committed_mb_per_second;
    if report.machine.is_memory() || share < NEAR_BULK {
        return None;
    }
    Some(format!(
        "Records of {} come to {} MB/s with {}, {} of what goes in buffered ({} MB/s): bandwidth \
         limits them, not flushes. Write less (compress records, log only what changed), or \
         take a disk or volume of more MB/s.",
        size(bulk.record_bytes),
        count(most.mb_per_second),
        threads(most.threads),
        times(share),
        count(bulk.committed_mb_per_second)
    ))
}

pub(super) fn slow_tail(report: &Report) -> Option<String> {
    let (bare, cell) = (report.flush()?, report.lone()?);
    let tail = cell.latency_p99_us / cell.latency_p50_us;
    if report.machine.is_memory() || tail <= LONG_TAIL {
        return None;
    }
    let whose = if bare.latency_p99_us * 2.0 >= cell.latency_p99_us {
        "The bare loop has it too: others use the disk or the CPUs, or the disk pauses by itself."
    } else {
        "The bare loop does not have it: the journal of the file system, which writes of others \
         fill, or other work on the CPUs."
    };
    Some(format!(
        "The slowest of a hundred commits takes {}, {} times the median. {whose} See who else \
         writes (iostat -x 1, pidstat -d 1), and give the log a disk, or at least a file system, of \
         its own.",
        time(cell.latency_p99_us),
        times(tail)
    ))
}

pub(super) fn much_written(report: &Report) -> Option<String> {
    let cell = report.lone().filter(|cell| cell.record_bytes <= SMALL_RECORD)?;
    let kib = cell.written_kib_per_sync.filter(|kib| *kib > MOST_KIB)?;
    let (machine, name) = (&report.machine, &report.machine.file_system);
    let why = if machine.copies_on_write() {
        format!(
            "{name} copies on write, and writes its trees anew with each flush: make the \
             directory with chattr +C before the log is in it, or use ext4 or xfs."
        )
    } else {
        "The page cache holds the file in large folios, which a store dirties whole: try \
         --write-method pwrite, set the disk's read_ahead_kb to 128 or less, and report it as a bug \
         with the output of --json."
            .to_owned()
    };
    Some(format!(
        "A commit of {} writes {kib:.1} KiB to the disk, where 4 to 8 are due. {why}",
        size(cell.record_bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Commits, sample};

    fn with_flush_of(us: f64) -> Report {
        let mut report = sample();
        report.figures.bare_loop[0].latency_p50_us = us;
        report
    }

    fn with_lone(change: impl Fn(&mut Commits)) -> Report {
        let mut report = sample();
        change(&mut report.figures.durable[0]);
        report
    }

    #[test]
    fn a_slow_flush_is_a_slow_disk() {
        assert_eq!(slow_flush(&with_flush_of(5_000.0)), None);
        let mut report = with_flush_of(8_300.0);
        report.figures.bare_loop[0].commits_per_second = 119.7;
        let said = slow_flush(&report).unwrap();
        assert!(said.contains("take 8.3 ms, as on a spinning disk"), "{said}");
        assert!(said.contains("gets past 120 a second"), "{said}");
    }

    #[test]
    fn large_records_meet_the_bandwidth() {
        let mut report = sample();
        assert_eq!(bandwidth(&report), None);
        report.figures.bulk[1].committed_mb_per_second = 400.0;
        let said = bandwidth(&report).unwrap();
        assert!(
            said.starts_with("Records of 16 KiB come to 367 MB/s with 64 threads, 0.92"),
            "{said}"
        );
        report.figures.bulk.pop();
        report.figures.bulk[0].committed_mb_per_second = 0.1;
        assert_eq!(bandwidth(&report), None, "small records are not bound by it");
    }

    #[test]
    fn a_long_tail_is_laid_to_who_has_it() {
        assert_eq!(slow_tail(&with_lone(|lone| lone.latency_p99_us = 1_750.0)), None);
        let mut report = with_lone(|lone| lone.latency_p99_us = 2_100.0);
        let said = slow_tail(&report).unwrap();
        assert!(said.contains("takes 2.1 ms, 12.0 times the median"), "{said}");
        assert!(said.contains("does not have it: the journal"), "{said}");
        report.figures.bare_loop[0].latency_p99_us = 1_050.0;
        assert!(slow_tail(&report).unwrap().contains("has it too: others use the disk"));
    }

    #[test]
    fn writing_too_much_is_a_bug_or_a_copy_on_write() {
        assert_eq!(much_written(&with_lone(|lone| lone.written_kib_per_sync = Some(17.0))), None);
        assert_eq!(much_written(&with_lone(|lone| lone.written_kib_per_sync = None)), None);
        let mut report = with_lone(|lone| lone.written_kib_per_sync = Some(2052.0));
        let said = much_written(&report).unwrap();
        assert!(said.contains("writes 2052.0 KiB") && said.contains("large folios"), "{said}");
        report.machine.file_system = "btrfs".into();
        assert!(much_written(&report).unwrap().contains("btrfs copies on write"));
        report.figures.durable[0].record_bytes = 16384;
        report.figures.bare_loop[0].record_bytes = 16384;
        assert_eq!(much_written(&report), None, "large records are due more");
    }
}
