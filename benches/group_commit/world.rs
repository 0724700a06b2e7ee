//! The commit path as a discrete-event model: clients, cores, two locks, one disk.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::gather::{Gather, Habit, Plan, Threads};

/// Nanoseconds.
pub(crate) type Time = u64;

/// Under the lock of the tail: copy and checksum of 100 B.
const APPEND: Time = 100;
/// Under the lock of the group: a look and a count.
const LOOK: Time = 60;
/// `sched_yield` with no one else to run, and a switch to another thread.
const YIELD: Time = 400;
const SWITCH: Time = 900;
/// What a thread pays to fall asleep on a futex, and whoever wakes it.
const SLEEP: Time = 1200;
const WAKE: Time = 2800;
/// From the wake until the thread is ready to run; one in fifty takes ten times as long.
const SCHEDULE: Time = 2000;
/// What a sync takes of the leader's core before it waits for the disk.
const SUBMIT: Time = 4000;
/// The rule that was shipped before.
const FIXED: Time = 40_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// The leader never waits.
    Plain,
    /// It waits up to 40 us for as many as were in the commit path when the last sync began. As shipped before, it counts
    /// those too that the last sync has just woken.
    Fixed,
    /// `src/log/gather.rs`.
    Adaptive,
    /// It knows who will come, and waits up to this part of a sync for them.
    Oracle(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Each client commits again at once.
    Closed,
    /// Each client thinks between its commits, for this part of a sync.
    Think(f64),
    /// The same on average, at random.
    Random(f64),
    /// One client in a loop. The others come in bursts: each commits so often, then none for two to ten syncs.
    Bursts(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) rule: Rule,
    pub(crate) load: Load,
    pub(crate) cores: usize,
    pub(crate) threads: usize,
    pub(crate) flush: Time,
    pub(crate) syncs: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commits: u64,
    pub(crate) syncs: u64,
    pub(crate) seconds: f64,
    pub(crate) latencies: Vec<Time>,
    /// Spent by leaders in waiting for company.
    pub(crate) gathered: Time,
    /// Commits of the lone client while no one else had anything to commit, and how long it waited for company.
    pub(crate) lone: u64,
    pub(crate) lone_waited: Time,
    pub(crate) lone_longest: Time,
}

/// xorshift64*, Vigna 2016, from a fixed seed: each run of the model gives the same figures.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Lognormal, around 1.
    fn spread(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        (0.2 * radius * (std::f64::consts::TAU * self.unit()).cos()).exp()
    }
}

/// What a client does next, once it has a core or what it did is over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Away,
    Append,
    Arrive,
    Yielded(u32),
    Gather,
    Submit,
    Flushed,
    Leave,
    Asleep,
    Woken,
}

#[derive(Clone, Debug)]
struct Client {
    step: Step,
    /// When its present commit began, and the position that this needs to be durable.
    begun: Time,
    need: u64,
    counted: bool,
    habit: Habit,
    /// The sync that woke it last.
    woken_by: u64,
    /// Commits that it has still to make in this burst, the present one included.
    to_do: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Wants a core.
    Ready(usize),
    /// Is done with what it did on its core.
    Done(usize),
    /// A core is free again.
    Free,
    Burst,
}

/// The present leader's wait, and what its sync covers.
#[derive(Clone, Copy, Debug, Default)]
struct Lead {
    begun: Time,
    company: usize,
    until: Time,
    plan: Plan,
    covered: Threads,
    inside: usize,
    end: u64,
}

pub(crate) struct World {
    set: Setting,
    random: Random,
    now: Time,
    order: u64,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    ready: VecDeque<usize>,
    free: usize,
    clients: Vec<Client>,
    tail_free: Time,
    group_free: Time,
    end: u64,
    durable: u64,
    led: bool,
    lead: Lead,
    asleep: Vec<usize>,
    /// Woken by `notify_all`, which hands them to the lock: each unlock wakes the next (parking_lot).
    handed: VecDeque<usize>,
    waiting: Threads,
    inside: usize,
    last_inside: usize,
    synced: u64,
    ended: Option<Time>,
    gather: Gather,
    tally: Tally,
}

impl World {
    /// Runs it for about so many syncs as the setting says, after a fifth of that to warm up.
    pub(crate) fn run(set: Setting) -> Tally {
        let client = Client {
            step: Step::Away,
            begun: 0,
            need: 0,
            counted: false,
            habit: Habit::NONE,
            woken_by: u64::MAX,
            to_do: 0,
        };
        let mut world = World {
            set,
            random: Random(0x9E37_79B9_7F4A_7C15),
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            ready: VecDeque::new(),
            free: set.cores,
            clients: vec![client; set.threads],
            tail_free: 0,
            group_free: 0,
            end: 0,
            durable: 0,
            led: false,
            lead: Lead::default(),
            asleep: Vec::new(),
            handed: VecDeque::new(),
            waiting: Threads::default(),
            inside: 0,
            last_inside: 0,
            synced: 0,
            ended: None,
            gather: Gather::default(),
            tally: Tally::default(),
        };
        let in_bursts = matches!(set.load, Load::Bursts(_));
        for who in 0..if in_bursts { 1 } else { set.threads } {
            let start = (world.random.unit() * set.flush as f64) as Time;
            world.comes(who, start);
        }
        if in_bursts {
            world.at(set.flush * 3, Event::Burst);
        }
        let warm = set.syncs / 5 * (set.flush + 30_000);
        world.go(warm);
        world.tally = Tally::default();
        world.go(warm * 6);
        world.tally.seconds = (world.now - warm) as f64 / 1e9;
        world.tally
    }

    fn go(&mut self, until: Time) {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            self.now = time;
            match event {
                // Who comes back from the disk goes first.
                Event::Ready(who) if self.clients[who].step == Step::Flushed => {
                    self.ready.push_front(who)
                }
                Event::Ready(who) => self.ready.push_back(who),
                Event::Done(who) => self.step(who),
                Event::Free => self.free += 1,
                Event::Burst => self.burst(),
            }
            while self.free > 0 {
                let Some(who) = self.ready.pop_front() else { break };
                self.free -= 1;
                let step = self.clients[who].step;
                self.works(who, SWITCH, step);
            }
            if self.now >= until {
                return;
            }
        }
    }

    fn at(&mut self, time: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    /// Keeps its core for so long, and goes on with `step`.
    fn works(&mut self, who: usize, time: Time, step: Step) {
        self.clients[who].step = step;
        self.at(self.now + time, Event::Done(who));
    }

    /// Lets others have the core first, if there are any.
    fn yields(&mut self, who: usize, step: Step) {
        if self.ready.is_empty() {
            return self.works(who, YIELD, step);
        }
        self.clients[who].step = step;
        self.free += 1;
        self.ready.push_back(who);
    }

    /// Begins its next commit, from elsewhere.
    fn comes(&mut self, who: usize, time: Time) {
        let client = &mut self.clients[who];
        (client.step, client.begun) = (Step::Append, time);
        self.at(time, Event::Ready(who));
    }

    fn burst(&mut self) {
        let Load::Bursts(commits) = self.set.load else { return };
        for who in 1..self.clients.len() {
            self.clients[who].to_do = commits;
            let time = self.now + (2000.0 * self.random.unit()) as Time;
            self.comes(who, time);
        }
    }

    /// Takes the lock of the group and gives it back: the time that it takes.
    fn locks(&mut self) -> Time {
        self.group_free = self.group_free.max(self.now) + LOOK;
        let time = self.group_free - self.now;
        time + self.handed.pop_front().map_or(0, |next| self.wakes(next, time))
    }

    fn wakes(&mut self, who: usize, after: Time) -> Time {
        let rare = if self.random.unit() < 0.02 { 10 } else { 1 };
        self.clients[who].step = Step::Woken;
        self.at(self.now + after + WAKE + SCHEDULE * rare, Event::Ready(who));
        WAKE
    }

    fn step(&mut self, who: usize) {
        match self.clients[who].step {
            Step::Append => self.append(who),
            Step::Arrive => {
                self.inside += 1;
                self.looks(who);
            }
            Step::Woken => self.looks(who),
            Step::Yielded(_) if self.durable >= self.clients[who].need => self.leaves(who),
            Step::Yielded(0) if self.led => {
                let time = self.locks() + SLEEP;
                self.clients[who].step = Step::Asleep;
                self.asleep.push(who);
                self.at(self.now + time, Event::Free);
            }
            Step::Yielded(0) => self.looks(who),
            Step::Yielded(left) => self.yields(who, Step::Yielded(left - 1)),
            Step::Gather if self.waits() => self.yields(who, Step::Gather),
            Step::Gather => self.begins(who),
            Step::Submit => {
                let time = (self.set.flush as f64 * self.random.spread()) as Time;
                self.clients[who].step = Step::Flushed;
                self.at(self.now + time, Event::Ready(who));
                self.free += 1;
            }
            Step::Flushed => self.publishes(who),
            Step::Leave => self.leaves(who),
            Step::Away | Step::Asleep => unreachable!("it has no core"),
        }
    }

    fn append(&mut self, who: usize) {
        self.tail_free = self.tail_free.max(self.now) + APPEND;
        self.end += 1;
        (self.clients[who].need, self.clients[who].counted) = (self.end, false);
        self.works(who, self.tail_free - self.now, Step::Arrive);
    }

    /// Looks around under the lock, as `wait_in_group` does.
    fn looks(&mut self, who: usize) {
        let time = self.locks();
        let client = &mut self.clients[who];
        if self.durable >= client.need {
            return self.works(who, time, Step::Leave);
        }
        if !client.counted {
            client.counted = true;
            let ended = self.ended.filter(|_| client.woken_by == self.synced);
            let since = ended.map(|ended| Duration::from_nanos(self.now - ended));
            client.habit = self.gather.arrives(since, client.habit);
            // It may have come too late to be waited for, and yet early enough for the sync that has begun.
            let covered = self.led && client.need <= self.lead.end;
            let threads = if covered { &mut self.lead.covered } else { &mut self.waiting };
            threads.all += 1;
            threads.regulars += u32::from(client.habit.is_regular());
        }
        if self.led {
            return self.works(who, time, Step::Yielded(self.gather.yields()));
        }
        self.led = true;
        let begun = self.now + time;
        let (company, until) = match self.set.rule {
            Rule::Plain | Rule::Adaptive => (0, 0),
            Rule::Fixed if self.last_inside < 2 => (0, 0),
            Rule::Fixed => (self.last_inside, begun + FIXED),
            Rule::Oracle(part) => {
                let until = begun + (self.set.flush as f64 * part) as Time;
                (self.waiting.all as usize + self.will_come(who, until), until)
            }
        };
        self.lead = Lead { begun, company, until, plan: self.gather.plan(), ..Lead::default() };
        self.works(who, time, Step::Gather);
    }

    fn waits(&self) -> bool {
        let lead = &self.lead;
        let since = || Duration::from_nanos(self.ended.map_or(Time::MAX, |ended| self.now - ended));
        match self.set.rule {
            Rule::Adaptive => lead.plan.waits(self.waiting.all, since),
            Rule::Fixed => self.inside < lead.company && self.now < lead.until,
            _ => (self.waiting.all as usize) < lead.company && self.now < lead.until,
        }
    }

    /// How many will come to wait before `until`, as only the model knows.
    fn will_come(&self, leader: usize, until: Time) -> usize {
        let others = self.clients.iter().enumerate().filter(|(who, client)| {
            let soon = match self.set.load {
                Load::Closed => true,
                Load::Think(part) => self.now + (self.set.flush as f64 * part) as Time <= until,
                Load::Random(_) => false,
                Load::Bursts(_) => *who == 0 || client.to_do > 1,
            };
            let comes = client.step == Step::Append && client.begun <= until;
            let waits = client.counted && client.need > self.durable;
            *who != leader
                && !waits
                && (comes || client.step == Step::Arrive || (client.step != Step::Append && soon))
        });
        others.count()
    }

    /// The sync covers what is appended by now.
    fn begins(&mut self, who: usize) {
        let gathered = self.now - self.lead.begun;
        self.tally.gathered += gathered;
        let idle = |client: &Client| {
            client.to_do == 0 || (client.to_do == 1 && client.need <= self.durable)
        };
        if who == 0
            && matches!(self.set.load, Load::Bursts(_))
            && self.clients[1..].iter().all(idle)
        {
            self.tally.lone += 1;
            self.tally.lone_waited += gathered;
            self.tally.lone_longest = self.tally.lone_longest.max(gathered);
        }
        self.lead.covered = std::mem::take(&mut self.waiting);
        (self.lead.inside, self.lead.end) = (self.inside, self.end);
        self.lead.begun = self.now;
        self.works(who, SUBMIT, Step::Submit);
    }

    fn publishes(&mut self, who: usize) {
        let Lead { begun, covered, inside, end, .. } = self.lead;
        let mut time = self.locks();
        self.tally.syncs += 1;
        self.synced += 1;
        self.gather.synced(Duration::from_nanos(self.now - begun), covered, self.waiting.all);
        (self.durable, self.ended, self.led, self.last_inside) =
            (end, Some(self.now), false, inside);
        let mut sleepers = std::mem::take(&mut self.asleep).into_iter();
        if let Some(first) = sleepers.next() {
            time += self.wakes(first, time);
        }
        self.handed.extend(sleepers);
        self.works(who, time, Step::Leave);
    }

    fn leaves(&mut self, who: usize) {
        let flush = self.set.flush as f64;
        self.inside -= 1;
        let client = &mut self.clients[who];
        client.woken_by = self.synced;
        self.tally.commits += 1;
        self.tally.latencies.push(self.now - client.begun);
        client.begun = self.now;
        let think = match self.set.load {
            Load::Closed => return self.append(who),
            Load::Bursts(_) if who == 0 => return self.append(who),
            Load::Bursts(_) => {
                client.to_do -= 1;
                if client.to_do > 0 {
                    return self.append(who);
                }
                client.step = Step::Away;
                self.free += 1;
                if self.clients[1..].iter().all(|client| client.to_do == 0) {
                    let quiet = (flush * (2.0 + 8.0 * self.random.unit())) as Time;
                    self.at(self.now + quiet, Event::Burst);
                }
                return;
            }
            Load::Think(part) => part * flush,
            Load::Random(part) => part * flush * self.random.exponential(),
        };
        self.free += 1;
        self.comes(who, self.now + think as Time);
    }
}
