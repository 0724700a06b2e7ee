//! How long a leader waits for company before it syncs: the rule alone, fed with counts and times.
//!
//! The leader of the last sync is back before those that it woke. If it goes on alone, the others come while it syncs,
//! and from then on two groups alternate: half of the records a sync. If it waits until all are back, they stay one.
//! To wait `w` for `r` more, so that of `n` threads all are covered, pays while `w` is below a sync's time times `r / n`.
//!
//! **Who will come?** Only those of whom it is known. A thread is a *regular* if it came back at once after each of its
//! last two commits; the leader waits for those regulars that the last sync woke, and for no one else. A lone
//! committer, in a loop or now and then, has no such company, whatever burst of others was just there, and never waits.
//! When regulars stop, one leader waits in vain, once, and no longer than the first of them last took.
//!
//! **For how long?** All times count from the end of the last sync: twice as long as the regulars took to come back
//! lately, and at most half a sync, or less if only a part of the threads can be had for it. If they take longer than
//! that, as many threads on few cores or a fast disk do, the leader does not wait at all. `benches/group_commit.rs`
//! models this against other rules.

use std::time::Duration;

/// How often a waiter yields before it sleeps, at most. To yield costs some 0.3 us, and what others have to do is done
/// meanwhile; to be woken costs much more, and who sleeps comes late to the next group. With a sync of 100 us 64 beside 8,
/// which design fact 4 names: 1.5 times as many commits of 8 threads, 1.2 of 64; 200 gain nothing more.
const YIELDS: u32 = 64;
/// While a slower disk is waited for, that would be time taken from the CPU for little.
const SLOW_YIELDS: u32 = 8;
const SLOW: Duration = Duration::from_micros(250);

/// How many times running a thread came back at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Habit(u8);

impl Habit {
    pub(crate) const NONE: Habit = Habit(0);

    /// Once may be chance: one burst right behind another.
    pub(crate) fn is_regular(self) -> bool {
        self.0 >= 2
    }
}

/// Threads, and how many of them are regulars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Threads {
    pub(crate) all: u32,
    pub(crate) regulars: u32,
}

/// What is known of those who commit. Changed under the lock of the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gather {
    /// How long a sync takes.
    sync: Duration,
    /// Whom the last one woke.
    woken: Threads,
    /// How many it left waiting.
    left: u32,
    /// How many of the woken came back at once.
    back: u32,
    /// When the first of them met another, and when the last of them came.
    met: Duration,
    last: Duration,
    /// The same two, as they usually are.
    usual_met: Duration,
    usual_last: Duration,
}

/// What a leader does; times count from the end of the last sync.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    company: u32,
    until: Duration,
    /// For a leader that is still the only one.
    alone_until: Duration,
}

impl Plan {
    /// Whether to wait on, with so many waiting, the leader included. `since`: the end of the last sync.
    pub(crate) fn waits(&self, waiting: u32, since: impl FnOnce() -> Duration) -> bool {
        let until = if waiting < 2 { self.alone_until } else { self.until };
        waiting < self.company && !until.is_zero() && since() < until
    }
}

impl Gather {
    /// A thread comes to wait. `since`: the end of the last sync, if that woke this thread. What its habit is now.
    pub(crate) fn arrives(&mut self, since: Option<Duration>, habit: Habit) -> Habit {
        let Some(since) = since.filter(|since| *since < self.bound()) else { return Habit::NONE };
        self.back += 1;
        self.last = since;
        if self.left + self.back == 2 {
            self.met = since;
        }
        Habit(habit.0.saturating_add(1))
    }

    /// How often a waiter yields before it sleeps.
    pub(crate) fn yields(&self) -> u32 {
        if self.sync < SLOW { YIELDS } else { SLOW_YIELDS }
    }

    /// No gathering is longer.
    fn bound(&self) -> Duration {
        self.sync / 2
    }

    pub(crate) fn plan(&self) -> Plan {
        let company = self.left + self.woken.regulars;
        let worth = self.bound() * company / (self.left + self.woken.all).max(1);
        if self.usual_last > worth {
            return Plan::default();
        }
        let until = (self.usual_last * 2).min(worth);
        Plan { company, until, alone_until: (self.usual_met * 2).min(until) }
    }

    /// A sync has ended that took so long, covered `woken`, and leaves so many waiting.
    pub(crate) fn synced(&mut self, took: Duration, woken: Threads, left: u32) {
        if self.back > 0 {
            self.usual_last = usual(self.usual_last, self.last);
        }
        // If two or more were left, no leader was alone.
        if self.left < 2 && self.left + self.back >= 2 {
            self.usual_met = usual(self.usual_met, self.met);
        }
        self.sync = if self.sync.is_zero() {
            took
        } else if took < self.sync {
            self.sync - (self.sync - took) / 8
        } else {
            // A disk that stalls once has not become slow.
            self.sync + (took - self.sync).min(self.sync) / 8
        };
        (self.woken, self.left, self.back) = (woken, left, 0);
    }
}

/// Follows what is seen: upwards at once, since to go a moment too early costs a whole sync, but not by chance all the
/// way; downwards slowly.
fn usual(usual: Duration, seen: Duration) -> Duration {
    if seen > usual {
        seen.min(usual * 2 + Duration::from_micros(5))
    } else {
        usual - (usual - seen) / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(100);

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// Threads whose turns a test decides.
    struct Scene {
        gather: Gather,
        habits: Vec<Habit>,
        waiting: Threads,
    }

    impl Scene {
        fn new() -> Scene {
            let (gather, waiting) = (Gather::default(), Threads::default());
            Scene { gather, habits: vec![Habit::NONE; 64], waiting }
        }

        /// Thread `n` comes so long after the last sync, which woke it, or not.
        fn comes(&mut self, n: u64, since: Option<Duration>) {
            let habit = &mut self.habits[usize::try_from(n).unwrap()];
            *habit = self.gather.arrives(since, *habit);
            self.waiting.all += 1;
            self.waiting.regulars += u32::from(habit.is_regular());
        }

        fn waits(&self, since: Duration) -> bool {
            self.gather.plan().waits(self.waiting.all, || since)
        }

        /// All who wait now are covered; then come `late`, too late for that sync.
        fn syncs(&mut self, late: impl FnOnce(&mut Scene)) {
            let woken = std::mem::take(&mut self.waiting);
            late(self);
            self.gather.synced(SYNC, woken, self.waiting.all);
        }

        /// `n` threads come back again and again, one each microsecond.
        fn loops(&mut self, n: u64, rounds: u32) {
            for _ in 0..rounds {
                (0..n).for_each(|i| self.comes(i, Some(us(i + 1))));
                self.syncs(|_| {});
            }
        }
    }

    #[test]
    fn a_lone_committer_never_waits() {
        let mut scene = Scene::new();
        for round in 0..1000 {
            // In a loop; or after a while; or woken by no sync at all.
            let since = [Some(us(1)), Some(us(90_000)), None][round / 7 % 3];
            scene.comes(0, since);
            assert!(!scene.waits(Duration::ZERO) && !scene.waits(us(1)), "round {round}");
            scene.syncs(|_| {});
        }
    }

    #[test]
    fn a_lone_committer_does_not_wait_for_a_burst_that_is_over() {
        let mut scene = Scene::new();
        scene.loops(1, 10);
        for straddles in [false, true, true, false] {
            // A burst while it syncs, and the lone one back in time for the burst's sync, or not.
            scene.comes(0, Some(us(1)));
            scene.syncs(|scene| (1..64).for_each(|i| scene.comes(i, None)));
            if straddles {
                scene.comes(0, Some(us(1)));
            }
            scene.syncs(|scene| {
                if !straddles {
                    scene.comes(0, Some(us(1)));
                }
            });
            if straddles {
                scene.comes(0, Some(us(1)));
            }
            assert!(!scene.waits(Duration::ZERO) && !scene.waits(us(1)));
            scene.syncs(|_| {});
        }
    }

    #[test]
    fn a_leader_waits_for_those_who_come_again_and_again_until_they_are_there() {
        let mut scene = Scene::new();
        scene.loops(8, 6);
        for i in 0..8 {
            assert!(scene.waiting.all == 0 || scene.waits(us(i)));
            scene.comes(i, Some(us(i + 1)));
        }
        assert!(!scene.waits(us(8)), "all are there");
    }

    #[test]
    fn one_that_was_left_out_joins_the_others() {
        let mut scene = Scene::new();
        scene.loops(8, 6);
        // The leader went alone; the others came while it synced.
        scene.comes(0, Some(us(1)));
        scene.syncs(|scene| (1..8).for_each(|i| scene.comes(i, Some(us(i + 1)))));
        assert!(scene.waits(us(1)), "the one that was synced comes back");
        scene.comes(0, Some(us(2)));
        assert!(!scene.waits(us(2)));
    }

    #[test]
    fn when_regulars_stop_one_leader_waits_in_vain_and_not_for_long() {
        let mut scene = Scene::new();
        scene.loops(32, 20);
        scene.comes(0, Some(us(1)));
        assert!(scene.waits(us(1)) && !scene.waits(us(5)), "the first of the others took 2 us");
        scene.syncs(|_| {});
        scene.comes(0, Some(us(1)));
        assert!(!scene.waits(us(1)));
    }

    #[test]
    fn chance_makes_no_regulars() {
        let mut scene = Scene::new();
        for round in 0..100 {
            // Bursts of 8: each second one comes right behind the one before.
            let since = (round % 2 == 1).then_some(us(20));
            (0..8).for_each(|i| scene.comes(i, since));
            scene.syncs(|_| {});
            scene.comes(9, None);
            assert!(!scene.waits(Duration::ZERO));
            scene.waiting = Threads::default();
        }
    }

    #[test]
    fn no_one_waits_where_most_come_too_late() {
        let mut scene = Scene::new();
        for _ in 0..20 {
            // A new one each 5 us: 9 of 64 within half a sync, the others while it goes on.
            (0..9).for_each(|i| scene.comes(i, Some(us(5 * i + 4))));
            (9..64).for_each(|i| scene.comes(i, Some(us(51))));
            scene.syncs(|_| {});
        }
        scene.comes(0, Some(us(4)));
        assert!(!scene.waits(us(4)));
    }

    #[test]
    fn no_gathering_exceeds_half_a_sync_nor_waits_for_more_than_there_are() {
        let (mut scene, mut seed) = (Scene::new(), 1u64);
        let mut draw = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        let mut waited = 0;
        for _ in 0..20_000 {
            let n = 1 + draw(16);
            (0..n).for_each(|i| scene.comes(i, (draw(8) > 0).then_some(us(draw(60)))));
            let all = scene.gather.left + scene.gather.woken.all;
            let plan = scene.gather.plan();
            assert!(!plan.waits(1, || scene.gather.sync / 2), "{plan:?}");
            assert!(!plan.waits(all.max(1), || Duration::ZERO), "{plan:?}");
            waited += u32::from(plan.waits(1, || Duration::ZERO));
            let late = draw(3);
            scene.syncs(|scene| (20..20 + late).for_each(|i| scene.comes(i, None)));
        }
        assert!(waited > 100, "{waited}: or this shows nothing");
    }

    #[test]
    fn a_disk_that_stalls_once_has_not_become_slow_and_one_that_did_is_believed() {
        let mut gather = Gather::default();
        gather.synced(us(100), Threads::default(), 0);
        gather.synced(us(50_000), Threads::default(), 0);
        assert!(gather.bound() < us(57), "{:?}", gather.bound());
        assert_eq!(gather.yields(), YIELDS);
        (0..60).for_each(|_| gather.synced(us(10_000), Threads::default(), 0));
        assert!(gather.bound() > us(4500), "{:?}", gather.bound());
        assert_eq!(gather.yields(), SLOW_YIELDS);
        (0..60).for_each(|_| gather.synced(us(20), Threads::default(), 0));
        assert!(gather.bound() < us(15), "{:?}", gather.bound());
    }
}
