//! Of the log, its settings and the CPUs.

use crate::bench::figures::{Commits, Report};
use crate::bench::words::{count, size, threads, time, times};
use crate::bench::{SyncMethod, WriteMethod};

/// What the log adds is less than a sixth: not worth a search.
const AT_THE_CEILING: f64 = 0.85;
/// Below, something other than the flush takes a third of the time.
const FAR_BELOW: f64 = 0.7;
/// What 50,000 commits a second of 100 bytes fill more than once a second.
const SMALL_SEGMENT: u64 = 4 << 20;
/// Of one CPU, by one thread that should sleep while the disk works.
const BUSY_THREAD: f64 = 0.7;
/// Of all CPUs: the rest goes to others, and to waits for the disk that nothing fills.
const SATURATED: f64 = 0.85;
/// With four times the threads or more, less than this is standing still.
const GROWS: f64 = 1.5;
const FOUR_TIMES: u32 = 4;
/// What `fast_commit` makes of the ratio: each sync is two.
const TWO_SYNCS: std::ops::Range<f64> = 0.4..0.6;

pub(super) fn one_thread(report: &Report) -> Option<String> {
    let (bare, lone) = (report.flush()?, report.lone()?);
    if report.machine.is_memory() {
        return None;
    }
    let ratio = lone.ratio_to_bare_loop;
    let of_bare = format!(
        "{} commits a second, {} of the bare loop's {}",
        count(lone.commits_per_second),
        times(ratio),
        count(bare.commits_per_second)
    );
    Some(match ratio {
        r if r >= AT_THE_CEILING => format!(
            "The disk's flush ({}) limits one thread: {of_bare}. {}",
            time(bare.latency_p50_us),
            company(report, lone)
        ),
        r if r >= FAR_BELOW => format!(
            "One thread makes {of_bare}: the flush takes most of it, the log's own work or other \
             load the rest. {} To see the rest clearer, run again with --rounds 9 on an idle machine.",
            company(report, lone)
        ),
        _ => format!("One thread makes only {of_bare}. {}", reasons(report, lone)),
    })
}

/// What more committers at once are worth here.
fn company(report: &Report, lone: &Commits) -> String {
    let times_lone = |cell: &Commits| times(cell.commits_per_second / lone.commits_per_second);
    let more = report.smallest().into_iter().filter(|cell| cell.threads > 1);
    let more: Vec<String> = more
        .map(|cell| format!("{} commit {} times as much", threads(cell.threads), times_lone(cell)))
        .collect();
    let measured = if more.is_empty() { String::new() } else { format!(": {}", more.join(", ")) };
    format!(
        "More committers at once share a flush{measured}. For one thread append_batch and tickets \
         (when_durable) do the same; a faster disk is the other way."
    )
}

fn reasons(report: &Report, lone: &Commits) -> String {
    let settings = &report.settings;
    let mut change = Vec::new();
    if settings.write_method != WriteMethod::Auto {
        change.push("--write-method auto".to_owned());
    }
    if settings.sync_method == SyncMethod::Msync {
        change.push("--sync-method fdatasync".to_owned());
    }
    if settings.segment_bytes < SMALL_SEGMENT {
        let now = size(settings.segment_bytes);
        change.push(format!("--segment-size 64MiB (segments of {now} are full soon)"));
    }
    if !change.is_empty() {
        return format!("The settings may be why; try {}.", change.join(", "));
    }
    let cpus = lone.cpu_share * f64::from(u32::try_from(report.machine.cpus).unwrap_or(1));
    if cpus >= BUSY_THREAD {
        let us = cpus * 1e6 / lone.commits_per_second;
        return format!(
            "The CPU limits: a commit takes {} of it. Take a faster one, or larger batches \
             (append_batch), and see that this is a release build.",
            time(us)
        );
    }
    let mut text = String::from("Neither the settings nor the CPU explain it: ");
    if report.machine.file_system == "ext4" && TWO_SYNCS.contains(&lone.ratio_to_bare_loop) {
        text += "if the file system has fast_commit (dumpe2fs -h), each sync has to be two, and \
                 tune2fs -O ^fast_commit ends that; else ";
    }
    text + "other load. Run again on an idle machine, with --rounds 9."
}

pub(super) fn many_threads(report: &Report) -> Option<String> {
    let cells = report.smallest();
    let [.., fewer, most] = cells.as_slice() else { return None };
    let growth = most.commits_per_second / fewer.commits_per_second;
    if most.threads < FOUR_TIMES.saturating_mul(fewer.threads) || growth >= GROWS {
        return None;
    }
    let stops = format!(
        "{} commit {} times as much as {}, with the CPUs {:.0} % busy",
        threads(most.threads),
        times(growth),
        threads(fewer.threads),
        most.cpu_share * 100.0
    );
    if most.cpu_share >= SATURATED {
        return Some(format!(
            "The CPU limits: {stops}. Take more cores than the {} here, or fewer committers with \
             batches (append_batch).",
            report.machine.cpus
        ));
    }
    // Of memory there is no flush to share.
    (!report.machine.is_memory()).then(|| {
        format!(
            "{stops}: it is not the CPU, and a sync carries {} records. More than {} at once bring \
             nothing on this disk; use batches (append_batch) instead.",
            count(most.records_per_sync),
            threads(fewer.threads)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::sample;

    fn with_ratio(ratio: f64) -> Report {
        let mut report = sample();
        let lone = &mut report.figures.durable[0];
        (lone.ratio_to_bare_loop, lone.commits_per_second) = (ratio, 5_600.0 * ratio);
        report
    }

    #[test]
    fn near_the_bare_loop_the_flush_limits_and_company_helps() {
        let said = one_thread(&with_ratio(0.85)).unwrap();
        assert!(said.starts_with("The disk's flush (175 us) limits one thread: 4,760 "), "{said}");
        assert!(
            said.contains("8 threads commit 8.59 times as much, 64 threads commit 30.6"),
            "{said}"
        );
        let mut alone = with_ratio(0.85);
        alone.figures.durable.truncate(1);
        let said = one_thread(&alone).unwrap();
        assert!(said.contains("share a flush. For one thread append_batch"), "{said}");
    }

    #[test]
    fn in_between_both_are_said() {
        for ratio in [0.7, 0.84] {
            let said = one_thread(&with_ratio(ratio)).unwrap();
            assert!(said.contains("the flush takes most of it"), "{said}");
        }
    }

    #[test]
    fn far_below_the_settings_are_named_first() {
        let mut report = with_ratio(0.69);
        report.settings.write_method = WriteMethod::Pwrite;
        report.settings.sync_method = SyncMethod::Msync;
        report.settings.segment_bytes = 1 << 20;
        report.figures.durable[0].cpu_share = 0.5;
        let said = one_thread(&report).unwrap();
        let named = ["--write-method auto", "--sync-method fdatasync", "segments of 1 MiB"];
        assert!(named.iter().all(|name| said.contains(name)), "{said}");
        assert!(!said.contains("CPU"), "{said}");
    }

    #[test]
    fn far_below_with_a_busy_thread_it_is_the_cpu() {
        let mut report = with_ratio(0.5);
        report.figures.durable[0].cpu_share = 0.35; // of two
        let said = one_thread(&report).unwrap();
        assert!(said.contains("The CPU limits: a commit takes 250 us of it"), "{said}");
    }

    #[test]
    fn far_below_without_a_reason_it_is_other_load_or_a_double_sync() {
        let said = one_thread(&with_ratio(0.65)).unwrap();
        assert!(said.contains("other load") && !said.contains("fast_commit"), "{said}");
        let mut report = with_ratio(0.5);
        assert!(one_thread(&report).unwrap().contains("fast_commit"));
        report.machine.file_system = "xfs".into();
        assert!(!one_thread(&report).unwrap().contains("fast_commit"));
    }

    #[test]
    fn without_a_cell_of_one_thread_nothing_is_said_of_it() {
        let mut report = sample();
        report.figures.durable.retain(|cell| cell.threads > 1);
        assert_eq!(one_thread(&report), None);
    }

    fn with_growth(growth: f64, cpu_share: f64) -> Report {
        let mut report = sample();
        let eight = report.figures.durable[1].commits_per_second;
        let most = &mut report.figures.durable[2];
        (most.commits_per_second, most.cpu_share) = (eight * growth, cpu_share);
        report
    }

    #[test]
    fn where_it_stops_to_grow_the_cpu_or_the_disk_is_named() {
        assert_eq!(many_threads(&with_growth(1.5, 1.0)), None);
        let said = many_threads(&with_growth(1.2, 0.9)).unwrap();
        assert!(said.starts_with("The CPU limits: 64 threads commit 1.20 times"), "{said}");
        assert!(said.contains("the CPUs 90 % busy") && said.contains("than the 2 here"), "{said}");
        let said = many_threads(&with_growth(1.2, 0.84)).unwrap();
        assert!(said.contains("it is not the CPU, and a sync carries 40 records"), "{said}");
    }

    #[test]
    fn a_few_threads_more_need_not_grow() {
        let mut report = with_growth(1.0, 1.0);
        report.figures.durable[2].threads = 31;
        assert_eq!(many_threads(&report), None);
    }
}
