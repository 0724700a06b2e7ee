//! What the figures mean, in sentences: what limits, and what to change.

mod disk;
mod log;
mod trust;

use super::figures::{Commits, Report};

/// A sentence, if the figures call for it.
type Rule = fn(&Report) -> Option<String>;

/// Whether to trust the figures, and the disk; what is true of the disk under any load.
const TRUST: [Rule; 6] = [
    trust::memory,
    trust::network,
    trust::others,
    trust::unsteady,
    trust::quick_flush,
    disk::much_written,
];

/// What limits; no figure tells while others have the CPUs.
const LIMITS: [Rule; 5] =
    [disk::slow_flush, log::one_thread, log::many_threads, disk::bandwidth, disk::slow_tail];

pub(crate) fn of(report: &Report) -> Vec<String> {
    let mut found: Vec<String> = TRUST.iter().filter_map(|rule| rule(report)).collect();
    if trust::others(report).is_none() {
        found.extend(LIMITS.iter().filter_map(|rule| rule(report)));
    }
    if found.is_empty() { vec!["Nothing here calls for a change.".into()] } else { found }
}

impl Report {
    /// The bare loop of the smallest records: next to nothing but the flush.
    fn flush(&self) -> Option<&Commits> {
        self.figures.bare_loop.first()
    }

    /// Commits of the smallest records, by ascending threads.
    fn smallest(&self) -> Vec<&Commits> {
        self.flush().map_or_else(Vec::new, |bare| self.durable_of(bare.record_bytes).collect())
    }

    /// One thread with the smallest records.
    fn lone(&self) -> Option<&Commits> {
        self.smallest().into_iter().find(|cell| cell.threads == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    #[test]
    fn a_healthy_disk_is_told_what_limits_and_no_more() {
        let report = sample();
        assert_eq!(report.verdict.len(), 1, "{:?}", report.verdict);
        assert!(report.verdict[0].contains("flush"));
    }

    #[test]
    fn there_is_always_a_sentence() {
        let mut report = sample();
        report.figures.durable.clear();
        assert_eq!(of(&report), ["Nothing here calls for a change."]);
    }

    #[test]
    fn while_others_have_the_cpus_no_limit_is_named() {
        let mut report = sample();
        report.figures.others_cpu_share = Some(0.9);
        report.figures.bare_loop[0].latency_p50_us = 8_000.0;
        let verdict = of(&report);
        assert_eq!(verdict.len(), 1, "{verdict:?}");
        assert!(verdict[0].contains("cannot be told"));
    }

    #[test]
    fn of_memory_only_that_is_said() {
        let mut report = sample();
        report.machine.file_system = "tmpfs".into();
        for cell in report.figures.bare_loop.iter_mut().chain(&mut report.figures.durable) {
            cell.latency_p50_us = 1.0;
            cell.ratio_to_bare_loop = 0.3;
        }
        let verdict = of(&report);
        assert_eq!(verdict.len(), 1, "{verdict:?}");
        assert!(verdict[0].contains("memory"));
    }
}
