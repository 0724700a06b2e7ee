//! The files that this process has mapped, or that a child of it may have.
//!
//! An instance of the log knows who holds its own segments; but a record may outlive its log, and a child has a copy of each
//! record that its parent had. Neither must see its bytes change because a file is put to another use.
//!
//! A list without a lock, which a fork might catch: nodes are added and used again, never freed. They are as many as files
//! were mapped at one time, and one for each file that was mapped at a fork and is still there.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

use super::FileId;
use super::process::forks;

static NODES: AtomicPtr<Node> = AtomicPtr::new(std::ptr::null_mut());

/// Says nothing.
const FREE: u8 = 0;
/// About to be used.
const CLAIMED: u8 = 1;
/// The file is mapped here.
const MAPPED: u8 = 2;
/// It was when this process forked: the child may have it mapped, for as long as it likes.
const LEFT: u8 = 3;

#[derive(Debug)]
struct Node {
    state: AtomicU8,
    device: AtomicU64,
    inode: AtomicU64,
    next: Option<&'static Node>,
}

impl Node {
    fn is_of(&self, (device, inode): FileId) -> bool {
        self.state.load(Ordering::Acquire) >= MAPPED
            && self.device.load(Ordering::Relaxed) == device
            && self.inode.load(Ordering::Relaxed) == inode
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// A file is mapped, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Mapped {
    node: &'static Node,
    file: FileId,
    forks: u64,
}

impl Mapped {
    pub(crate) fn new(file: FileId) -> Mapped {
        // Before the mapping is there: a fork in between counts.
        let forks = forks();
        let free = nodes().find(|node| node.change(FREE, CLAIMED));
        let node = free.unwrap_or_else(add);
        node.device.store(file.0, Ordering::Relaxed);
        node.inode.store(file.1, Ordering::Relaxed);
        node.state.store(MAPPED, Ordering::Release);
        Mapped { node, file, forks }
    }

    pub(crate) fn file(&self) -> FileId {
        self.file
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let forked = self.forks != forks();
        let is_left = |node: &Node| node.state.load(Ordering::Acquire) == LEFT;
        // Once is enough for each file.
        let stays = forked && !nodes().any(|node| is_left(node) && node.is_of(self.file));
        self.node.state.store(if stays { LEFT } else { FREE }, Ordering::Release);
    }
}

/// Whether anyone in this process has the file mapped, or a child may.
pub(crate) fn is_mapped(file: FileId) -> bool {
    nodes().any(|node| node.is_of(file))
}

/// The file has no name any more: its number is another's once no one has it mapped.
pub(crate) fn forget(file: FileId) {
    for node in nodes().filter(|node| node.is_of(file)) {
        node.change(LEFT, FREE);
    }
}

fn nodes() -> impl Iterator<Item = &'static Node> {
    // SAFETY: null, or a node that `add` leaked: it lives as long as the program and changes by atomics alone.
    let first: Option<&'static Node> = unsafe { NODES.load(Ordering::Acquire).as_ref() };
    std::iter::successors(first, |node| node.next)
}

/// A claimed node.
fn add() -> &'static Node {
    let (device, inode) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut node = Box::new(Node { state: AtomicU8::new(CLAIMED), device, inode, next: None });
    loop {
        let first = NODES.load(Ordering::Acquire);
        // SAFETY: as in `nodes`.
        node.next = unsafe { first.as_ref() };
        let added = Box::into_raw(node);
        match NODES.compare_exchange(first, added, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: leaked just now, and from here on only shared.
            Ok(_) => return unsafe { &*added },
            // SAFETY: made by `into_raw` above, and seen by no one else.
            Err(_) => node = unsafe { Box::from_raw(added) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_mapped_as_long_as_any_mapping_of_it_lives() {
        let file = (u64::MAX, 1);
        assert!(!is_mapped(file));
        let (first, second) = (Mapped::new(file), Mapped::new(file));
        drop(first);
        assert!(is_mapped(file) && !is_mapped((u64::MAX, 2)));
        drop(second);
        assert!(!is_mapped(file));
    }

    #[test]
    fn a_thousand_mappings_at_a_time_are_all_known_and_then_none() {
        let threads: Vec<_> = (0..4)
            .map(|t| {
                std::thread::spawn(move || {
                    for round in 0..100 {
                        let files = (0..10).map(|n| (u64::MAX - 1, t << 20 | round << 8 | n));
                        let held: Vec<_> = files.map(|file| (file, Mapped::new(file))).collect();
                        assert!(held.iter().all(|(file, _)| is_mapped(*file)));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!nodes().any(|node| node.device.load(Ordering::Relaxed) == u64::MAX - 1
            && node.state.load(Ordering::Acquire) != FREE));
    }
}
