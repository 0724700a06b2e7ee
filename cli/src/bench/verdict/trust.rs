//! Whether the figures, and the disk, are to be trusted.

use crate::bench::figures::{Commits, Report};
use crate::bench::words::{count, threads, time};

/// So much that a thread which wakes up after a flush often finds no processor free.
const OTHERS: f64 = 0.25;
/// The median of rounds that differ more says little.
const UNSTEADY: f64 = 1.5;
/// To program a page of flash takes 100 us or more: who answers sooner, the system's part included, answers out of a
/// cache.
const QUICKEST_FLASH_US: f64 = 30.0;

pub(super) fn others(report: &Report) -> Option<String> {
    let share = report.figures.others_cpu_share.filter(|share| *share >= OTHERS)?;
    Some(format!(
        "Others, or the hypervisor, took {:.0} % of the CPUs meanwhile: the machine can do more than \
         these figures say, and what limits the log cannot be told. See who (top; \"st\" is the \
         hypervisor) and run again when it is idle.",
        share * 100.0
    ))
}

pub(super) fn unsteady(report: &Report) -> Option<String> {
    let differs = |cell: &Commits| cell.fastest_round_per_second / cell.slowest_round_per_second;
    let alone = report.flush().into_iter().map(|bare| ("the bare loop".to_owned(), bare));
    let cells = report.smallest().into_iter().map(|cell| (threads(cell.threads), cell));
    let (name, worst) = alone.chain(cells).max_by(|a, b| differs(a.1).total_cmp(&differs(b.1)))?;
    (differs(worst) >= UNSTEADY).then(|| {
        format!(
            "Rounds differ much: {name} made {} commits a second in one and {} in another. Others use the \
             disk or the CPUs, or the disk has a budget for bursts. Take no figure here for more than a \
             hint; run again with --rounds 9, and longer --millis.",
            count(worst.slowest_round_per_second),
            count(worst.fastest_round_per_second)
        )
    })
}

pub(super) fn memory(report: &Report) -> Option<String> {
    let name = &report.machine.file_system;
    report.machine.is_memory().then(|| {
        format!(
            "{name} is memory: nothing here survives a power cut, and these are figures of \
             memory. Measure in a directory on the disk where the log is to be."
        )
    })
}

pub(super) fn network(report: &Report) -> Option<String> {
    let name = &report.machine.file_system;
    report.machine.is_network().then(|| {
        format!(
            "{name} is not a local file system: it does not keep the promises of flock, fdatasync \
             and shared mappings on which the log rests, whatever the figures. Use ext4, xfs or \
             btrfs on a disk of this machine."
        )
    })
}

pub(super) fn quick_flush(report: &Report) -> Option<String> {
    let (machine, flush) = (&report.machine, report.flush()?.latency_p50_us);
    if machine.is_memory() || flush >= QUICKEST_FLASH_US {
        return None;
    }
    let through = machine.write_cache.as_deref() == Some("write through");
    let told = if through {
        ", and the kernel sends it no flushes, since it calls its cache safe"
    } else {
        ""
    };
    Some(format!(
        "A write and its flush take {}, less than flash needs to store anything{told}. Either the \
         disk has power-loss protection (capacitors, a battery), or it, or the hypervisor, does \
         not really flush, and a power cut loses what was committed. Find out before you trust it: \
         look for power-loss protection in the data sheet of the model (lsblk -o NAME,MODEL); in a \
         virtual machine ask for whether the cache mode of the host ignores flushes; best, \
         cut the power while diskchecker.pl runs.",
        time(flush)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    fn with_flush_of(us: f64) -> Report {
        let mut report = sample();
        report.figures.bare_loop[0].latency_p50_us = us;
        report
    }

    #[test]
    fn memory_survives_nothing() {
        let mut report = sample();
        assert_eq!(memory(&report), None);
        report.machine.file_system = "tmpfs".into();
        assert!(memory(&report).unwrap().contains("nothing here survives a power cut"));
    }

    #[test]
    fn a_network_file_system_is_not_to_be_trusted() {
        let mut report = sample();
        assert_eq!(network(&report), None);
        for name in ["nfs4", "fuse.sshfs", "9p"] {
            report.machine.file_system = name.into();
            assert!(network(&report).unwrap().starts_with(name));
        }
    }

    #[test]
    fn a_flush_that_is_too_quick_is_doubted_both_ways() {
        assert_eq!(quick_flush(&with_flush_of(30.0)), None);
        let mut report = with_flush_of(29.0);
        let said = quick_flush(&report).unwrap();
        assert!(said.contains("take 29 us"), "{said}");
        assert!(said.contains("power-loss protection") && said.contains("not really flush"));
        assert!(!said.contains("sends it no flushes"));
        report.machine.write_cache = Some("write through".into());
        assert!(quick_flush(&report).unwrap().contains("sends it no flushes"));
        report.machine.file_system = "tmpfs".into();
        assert_eq!(quick_flush(&report), None);
    }

    #[test]
    fn who_else_had_the_cpus_is_said() {
        let mut report = sample();
        report.figures.others_cpu_share = Some(0.24);
        assert_eq!(others(&report), None);
        report.figures.others_cpu_share = Some(0.6);
        assert!(others(&report).unwrap().contains("took 60 % of the CPUs"));
        report.figures.others_cpu_share = None;
        assert_eq!(others(&report), None);
    }

    #[test]
    fn rounds_that_differ_make_figures_hints() {
        let mut report = sample();
        report.figures.durable[0].slowest_round_per_second = 3_800.0;
        assert_eq!(unsteady(&report), None);
        report.figures.durable[0].slowest_round_per_second = 3_000.0;
        report.figures.bare_loop[0].slowest_round_per_second = 407.0;
        let said = unsteady(&report).unwrap();
        assert!(
            said.contains("the bare loop made 407 commits a second in one and 5,700 in"),
            "{said}"
        );
    }
}
