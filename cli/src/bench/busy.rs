//! Who has the processors.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::words::float;

/// Of this program, all threads.
pub(crate) fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Ticks since the machine started, and what this program has had.
#[derive(Clone, Copy)]
pub(crate) struct Busy {
    all: u64,
    busy: u64,
    own: Duration,
}

impl Busy {
    pub(crate) fn now() -> Option<Busy> {
        Busy::of(&std::fs::read_to_string("/proc/stat").ok()?, cpu())
    }

    fn of(stat: &str, own: Duration) -> Option<Busy> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = *ticks.as_slice() else {
            return None;
        };
        let busy = user + nice + system + irq + softirq + steal;
        Some(Busy { all: busy + idle + iowait, busy, own })
    }

    /// What others took of all processors, 0 to 1.
    pub(crate) fn others_since(before: Option<Busy>) -> Option<f64> {
        Busy::now()?.others(&before?)
    }

    fn others(&self, before: &Busy) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|ticks| *ticks > 0)?;
        let busy = float(self.busy.saturating_sub(before.busy));
        let own = self.own.saturating_sub(before.own).as_secs_f64();
        let own = own * float(rustix::param::clock_ticks_per_second());
        Some(((busy - own) / float(all)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_the_others() {
        let ticks = rustix::param::clock_ticks_per_second();
        let before = Busy::of("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1\n", Duration::ZERO).unwrap();
        // Ten seconds of two processors: 12 busy, of them 2 for the hypervisor and 8 our own.
        let line =
            format!("cpu  {} 0 10 {} 0 0 0 {} 0 0\n", 10 + 10 * ticks, 80 + 8 * ticks, 2 * ticks);
        let after = Busy::of(&line, Duration::from_secs(8)).unwrap();
        assert!((after.others(&before).unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(after.others(&after), None);
    }

    #[test]
    fn a_line_that_is_not_known_tells_nothing() {
        assert!(Busy::of("cpu  1 2 3\n", Duration::ZERO).is_none());
        assert!(Busy::of("", Duration::ZERO).is_none());
    }
}
