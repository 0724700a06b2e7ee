//! The thread that runs others' code: callbacks and the observer, from one queue.
//!
//! What happens is queued under the lock under which it happens, so the order of the queue is the order of events. It is
//! delivered by this thread alone, one item at a time and with no lock held: never on the stack of a caller, never nested.
//! The lock of the queue comes after all others. Pushing never waits, whatever an observer or a callback does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::tell::News;
use crate::error::{Error, Result};
use crate::observer::Watcher;
use crate::storage::Process;
use crate::sync::thread::{self, JoinHandle, ThreadId};
use crate::sync::{Condvar, Instant, Mutex};

/// A callback of [`Log::on_durable`](crate::Log::on_durable).
pub(super) type Call = Box<dyn FnOnce(Result<()>) + Send>;

#[derive(Debug, Default)]
pub(crate) struct Delivery {
    observer: Option<Watcher>,
    queue: Mutex<Queue>,
    /// With `queue`: there is something to deliver, or the thread is to end.
    pushed: Condvar,
    /// With `queue`: an item was delivered.
    delivered: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// How many items were ever queued, and delivered.
    pushed: u64,
    delivered: u64,
    /// The thread waits for `pushed`.
    asleep: bool,
    stopped: bool,
    /// The system would not start the thread.
    refused: bool,
    /// Set when the thread was started, and never reset.
    runs: Option<ThreadId>,
    thread: Option<JoinHandle<()>>,
}

enum Item {
    News(News),
    Call(Call, Result<()>),
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Item::News(news) => news.fmt(f),
            Item::Call(_, outcome) => f.debug_tuple("Call").field(outcome).finish(),
        }
    }
}

impl Delivery {
    pub(crate) fn new(observer: Option<Watcher>) -> Delivery {
        Delivery { observer, ..Delivery::default() }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.observer.is_some()
    }

    /// Starts the thread, if it does not run. If the system refuses it, the background tries again.
    pub(super) fn start(&self, engine: &Arc<Engine>) -> Result<()> {
        let mut queue = self.queue.lock();
        if queue.runs.is_some() || queue.stopped {
            return Ok(());
        }
        let running = Arc::clone(engine);
        let spawned = thread::Builder::new()
            .name("duralog-events".into())
            .spawn(move || running.contain_thread(run));
        queue.refused = spawned.is_err();
        let path = engine.files.directory.path();
        let thread = spawned.map_err(|e| Error::io("clone", path, e))?;
        queue.runs = Some(thread.thread().id());
        queue.thread = Some(thread);
        Ok(())
    }

    pub(super) fn lacks_thread(&self) -> bool {
        self.queue.lock().refused
    }

    /// For the observer, if there is one. Under the lock under which it happens.
    pub(super) fn note(&self, news: impl FnOnce() -> News) {
        if self.is_watched() {
            self.push(Item::News(news()));
        }
    }

    /// A callback, with what it is to be given.
    pub(super) fn call(&self, call: Call, outcome: Result<()>) {
        self.push(Item::Call(call, outcome));
    }

    fn push(&self, item: Item) {
        let mut queue = self.queue.lock();
        // A slow observer finds one event for many syncs, so commits do not grow the queue.
        if let (Some(Item::News(last)), Item::News(news)) = (queue.items.back_mut(), &item) {
            if last.absorb(news) {
                return;
            }
        }
        queue.items.push_back(item);
        queue.pushed += 1;
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.pushed.notify_one();
        }
    }

    /// Waits until everything that is queued by now was delivered; not on the thread that delivers, which would wait for
    /// itself.
    pub(super) fn drain(&self) {
        self.drain_within(None);
    }

    /// The same, but no longer than `limit`.
    pub(super) fn drain_within(&self, limit: Option<Duration>) {
        let begun = Instant::now();
        let mut queue = self.queue.lock();
        if queue.runs == Some(thread::current().id()) {
            return;
        }
        // Not what comes later: a callback may cause the next for ever.
        let all = queue.pushed;
        while queue.delivered < all {
            if queue.runs.is_none() {
                drop(queue);
                return self.deliver_here();
            }
            match limit {
                None => self.delivered.wait(&mut queue),
                Some(limit) => {
                    let left = limit.saturating_sub(begun.elapsed());
                    if left.is_zero() {
                        return;
                    }
                    self.delivered.wait_for(&mut queue, left);
                }
            }
        }
    }

    /// Ends the thread once it has delivered all. On that thread itself: it ends when what calls this has returned, and
    /// the rest was delivered.
    pub(super) fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.stopped = true;
        let runs = queue.runs.is_some();
        let thread = queue.thread.take();
        drop(queue);
        self.pushed.notify_one();
        super::syncer::join(thread);
        if !runs {
            self.deliver_here();
        }
    }

    /// Where the system never granted a thread, whoever ends the log makes the calls that are left: none is lost.
    #[cold]
    fn deliver_here(&self) {
        loop {
            let item = self.queue.lock().items.pop_front();
            let Some(item) = item else { return };
            if !self.deliver(item) {
                return;
            }
        }
    }

    fn next(&self) -> Option<Item> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Some(item);
            }
            if queue.stopped {
                return None;
            }
            queue.asleep = true;
            self.pushed.wait(&mut queue);
        }
    }

    /// A panic ends here: the panic hook has reported it, and the queue has others to serve. What the item held goes here
    /// too: it may be the last handle of the log, or of a segment. False: it forked, and this is the child, where nothing of the
    /// log may run.
    fn deliver(&self, item: Item) -> bool {
        let process = Process::this();
        let delivered = catch_unwind(AssertUnwindSafe(|| match item {
            Item::News(news) => {
                if let Some(observer) = &self.observer {
                    observer.tell(&news.event());
                }
            }
            Item::Call(call, outcome) => call(outcome),
        }));
        if !process.is_ok_and(Process::is_this) {
            return false;
        }
        self.queue.lock().delivered += 1;
        self.delivered.notify_all();
        drop(delivered);
        true
    }
}

fn run(engine: &Engine) {
    let delivery = &engine.health.delivery;
    while let Some(item) = delivery.next() {
        if !delivery.deliver(item) {
            return;
        }
    }
}
