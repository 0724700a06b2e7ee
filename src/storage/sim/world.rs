//! The state of a simulated disk: files, names, what of them is durable, and what is to go wrong.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::choice::{Choose, Dice};
use super::inode::Inode;
use super::pages::PAGE;
use super::{Call, Fault, Unwritten};
use crate::storage::Status;

/// A change of the directory that no sync has covered.
#[derive(Clone, Debug)]
enum NameChange {
    Set { name: String, inode: usize },
    Rename { from: String, to: String, inode: usize },
    Remove { name: String },
}

/// Tells one disk from another.
static DEVICES: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub(super) struct World {
    pub(super) device: u64,
    inodes: Vec<Option<Inode>>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
    pub(super) lock: Option<u64>,
    pub(super) next_holder: u64,
    pub(super) calls: u64,
    counts: BTreeMap<Call, u64>,
    pub(super) cut_at: Option<u64>,
    pub(super) off: bool,
    faults: Vec<Fault>,
    pub(super) struck: u64,
    /// How many pages the write that fails now is to write, if the test says so.
    pub(super) written: Option<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) stores_are_safe: bool,
    pub(super) unwritten: Unwritten,
    pub(super) background: bool,
    pub(super) violations: Vec<String>,
    pub(super) dice: Dice,
}

fn no_such_file() -> io::Error {
    rustix::io::Errno::NOENT.into()
}

/// What a call does when it is its turn.
pub(super) enum Turn {
    Go,
    /// It does a part of its work, or none, and fails.
    Fail(io::Error),
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            device: DEVICES.fetch_add(1, Ordering::Relaxed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            lock: None,
            next_holder: 1,
            calls: 0,
            counts: BTreeMap::new(),
            cut_at: None,
            off: false,
            faults: Vec::new(),
            struck: 0,
            written: None,
            capacity: None,
            stores_are_safe: true,
            unwritten: Unwritten::Written,
            background: false,
            violations: Vec::new(),
            dice: Dice(seed),
        }
    }

    /// Counts the call, takes note of what was stored since the last, cuts the power if it is time, and
    /// finds the fault that was ordered.
    pub(super) fn turn(&mut self, call: Call) -> Turn {
        let dead = || io::Error::from(rustix::io::Errno::IO);
        if self.off {
            return Turn::Fail(dead());
        }
        self.look();
        self.written = None;
        self.calls += 1;
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let count = *count;
        if self.cut_at.is_some_and(|at| self.calls >= at) {
            self.off = true;
            return Turn::Fail(dead());
        }
        match self.faults.iter().find(|fault| fault.strikes(call, count)) {
            Some(fault) => {
                self.struck += 1;
                self.written = fault.written;
                Turn::Fail(fault.error())
            }
            None => Turn::Go,
        }
    }

    /// Takes note of what was stored through mappings.
    pub(super) fn look(&mut self) {
        if self.off {
            return;
        }
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            let Some(inode) = inode else { continue };
            match inode.look_at_all() {
                Ok(None) => {}
                Ok(Some(page)) => self.violations.push(format!(
                    "a store to page {page} of file {number}, which has no block: SIGBUS on a full disk"
                )),
                Err(error) => self.violations.push(format!("the simulation failed: {error}")),
            }
        }
    }

    pub(super) fn order(&mut self, mut fault: Fault) {
        fault.from = self.counts.get(&fault.call).copied().unwrap_or(0);
        self.faults.push(fault);
    }

    pub(super) fn mend(&mut self) {
        self.faults.clear();
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts.get(&call).copied().unwrap_or(0)
    }

    pub(super) fn inode(&mut self, number: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(number).and_then(Option::as_mut).ok_or_else(no_such_file)
    }

    pub(super) fn lookup(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(no_such_file)
    }

    pub(super) fn status(&mut self, number: usize) -> io::Result<Status> {
        let id = (self.device, number as u64);
        let links = self.names.values().filter(|named| **named == number).count() as u64;
        let inode = self.inode(number)?;
        let held = (inode.pages_allocated() * PAGE) as u64;
        Ok(Status { len: inode.len() as u64, held, links, id, modified: None })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<usize> {
        if self.names.contains_key(name) {
            return Err(rustix::io::Errno::EXIST.into());
        }
        self.need(1)?;
        let number = self.inodes.len();
        self.inodes.push(Some(Inode::new()));
        self.names.insert(name.to_owned(), number);
        self.changes.push(NameChange::Set { name: name.to_owned(), inode: number });
        Ok(number)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.names.remove(from).ok_or_else(no_such_file)?;
        self.names.insert(to.to_owned(), inode);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.changes.push(NameChange::Rename { from, to, inode });
        self.forget_unused();
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.names.remove(name).ok_or_else(no_such_file)?;
        self.changes.push(NameChange::Remove { name: name.to_owned() });
        self.forget_unused();
        Ok(())
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names = self.names.clone();
        self.changes.clear();
        self.forget_unused();
    }

    /// Frees files that no name, now or after a power cut, and no handle leads to.
    pub(super) fn forget_unused(&mut self) {
        for (number, slot) in self.inodes.iter_mut().enumerate() {
            let changed = |change: &NameChange| match change {
                NameChange::Set { inode, .. } | NameChange::Rename { inode, .. } => {
                    *inode == number
                }
                NameChange::Remove { .. } => false,
            };
            let named =
                self.names.values().chain(self.durable_names.values()).any(|n| *n == number)
                    || self.changes.iter().any(changed);
            if slot.as_ref().is_some_and(|inode| inode.handles == 0 && !named) {
                *slot = None;
            }
        }
    }

    /// Pages in use. What a process has removed is free.
    pub(super) fn used(&self) -> usize {
        let named = |number: &usize| self.names.values().any(|named| named == number);
        self.inodes
            .iter()
            .enumerate()
            .filter_map(|(number, inode)| inode.as_ref().map(|inode| (number, inode)))
            .filter(|(number, inode)| inode.handles > 0 || named(number))
            .map(|(_, inode)| inode.pages_allocated())
            .sum()
    }

    /// Whether the disk has room for so many more pages.
    pub(super) fn need(&self, pages: usize) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let room = usize::try_from(capacity).unwrap_or(usize::MAX) / PAGE;
        if self.used() + pages > room { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// What the disk may hold after a power cut now.
    pub(super) fn after_power_cut(&self, choose: &mut dyn Choose, seed: u64) -> World {
        let mut names = self.durable_names.clone();
        for change in &self.changes {
            if choose.choose(2) == 0 {
                continue;
            }
            match change {
                NameChange::Set { name, inode } => drop(names.insert(name.clone(), *inode)),
                NameChange::Remove { name } => drop(names.remove(name)),
                NameChange::Rename { from, to, inode } => {
                    if names.get(from) == Some(inode) {
                        names.remove(from);
                    }
                    names.insert(to.clone(), *inode);
                }
            }
        }
        let mut world = World::new(seed);
        (world.capacity, world.stores_are_safe) = (self.capacity, self.stores_are_safe);
        world.background = self.background;
        for (name, number) in names {
            let Some(inode) = self.inodes.get(number).and_then(Option::as_ref) else { continue };
            world.names.insert(name, world.inodes.len());
            world.inodes.push(Some(inode.after_power_cut(choose)));
        }
        world.durable_names = world.names.clone();
        world
    }
}
