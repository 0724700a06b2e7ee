//! One simulated file: what any process sees of it (the cache), what a power cut certainly leaves (the
//! disk), and between them every version of every sector since the last sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};

use super::Unwritten;
use super::choice::Choose;
use super::pages::{PAGE, Page, Pages, whole};

pub(super) const SECTOR: usize = 512;
const SECTORS: usize = PAGE / SECTOR;

/// The bytes of a sector within its page.
fn in_page(sector: usize) -> Range<usize> {
    let start = sector % SECTORS * SECTOR;
    start..start + SECTOR
}

#[derive(Debug)]
pub(super) struct Inode {
    /// The page cache of a file that someone maps: real memory, so that real mappings of it and reads agree.
    memory: Option<OwnedFd>,
    /// The page cache as it was seen last; of a file that no one maps, as it is. What is not dirty is as it
    /// was when it was last clean.
    cache: Pages,
    /// What is on the disk, whatever happens.
    disk: Pages,
    /// The durable length, then each one since.
    lens: Vec<usize>,
    /// Of each sector of a dirty page, the page with each content since it was durable, oldest first.
    versions: BTreeMap<usize, Vec<Page>>,
    dirty: BTreeSet<usize>,
    /// Pages with a block; and which of them have it after a power cut.
    allocated: Arc<BTreeSet<usize>>,
    allocated_on_disk: Arc<BTreeSet<usize>>,
    /// Pages that have their block by `allocate` alone; and which of them are that after a power cut.
    unwritten: Arc<BTreeSet<usize>>,
    unwritten_on_disk: Arc<BTreeSet<usize>>,
    /// Open handles: a file without a name lives as long as it has one.
    pub(super) handles: usize,
    mappings: usize,
    /// Someone may store through a mapping: it has to be looked at.
    stored_to: bool,
    /// Where the memory is read to.
    now: Vec<u8>,
}

impl Inode {
    /// A new file: empty, on the disk too.
    pub(super) fn new() -> Inode {
        Inode::with(Pages::of(&[]), 0, Arc::default())
    }

    /// A file that is all on the disk.
    fn with(pages: Pages, len: usize, allocated: Arc<BTreeSet<usize>>) -> Inode {
        Inode {
            memory: None,
            cache: pages.clone(),
            disk: pages,
            lens: vec![len],
            versions: BTreeMap::new(),
            dirty: BTreeSet::new(),
            allocated: Arc::clone(&allocated),
            allocated_on_disk: allocated,
            unwritten: Arc::default(),
            unwritten_on_disk: Arc::default(),
            handles: 0,
            mappings: 0,
            stored_to: false,
            now: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lens.last().copied().unwrap_or(0)
    }

    fn pages(&self) -> usize {
        self.len().div_ceil(PAGE)
    }

    pub(super) fn pages_allocated(&self) -> usize {
        self.allocated.len()
    }

    /// Up to where, from an offset on, all has blocks, and all of them were written to. Of a page that is dirty the
    /// disk does not know yet.
    pub(super) fn blocks(&self, from: usize) -> (usize, usize) {
        let has_block = |page: &usize| self.allocated.contains(page);
        let is_written = |page: &usize| has_block(page) && !self.unwritten.contains(page);
        let end = |pages: usize| ((from / PAGE + pages) * PAGE).min(self.len()).max(from);
        let pages = || from / PAGE..self.pages();
        (end(pages().take_while(has_block).count()), end(pages().take_while(is_written).count()))
    }

    /// How many more pages a write or an allocation of `range` needs.
    pub(super) fn pages_missing(&self, range: &Range<usize>) -> usize {
        pages_of(range).filter(|page| !self.allocated.contains(page)).count()
    }

    fn has_blocks(&mut self, range: &Range<usize>) {
        if self.pages_missing(range) > 0 {
            Arc::make_mut(&mut self.allocated).extend(pages_of(range));
        }
    }

    fn is_written_now(&mut self, pages: Range<usize>) {
        if self.unwritten.range(pages.clone()).next().is_some() {
            let unwritten = Arc::make_mut(&mut self.unwritten);
            unwritten.retain(|page| !pages.contains(page));
        }
    }

    fn grow(&mut self, len: usize) -> io::Result<()> {
        if len > self.len() {
            if let Some(memory) = &self.memory {
                ftruncate(memory, len as u64)?;
            }
            self.lens.push(len);
            self.cache.resize(len.div_ceil(PAGE));
            self.disk.resize(len.div_ceil(PAGE));
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, len: usize) -> io::Result<()> {
        let new: Vec<usize> =
            pages_of(&(0..len)).filter(|page| !self.allocated.contains(page)).collect();
        Arc::make_mut(&mut self.unwritten_on_disk).extend(&new);
        Arc::make_mut(&mut self.unwritten).extend(new);
        self.has_blocks(&(0..len));
        self.grow(len)
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        let range = at..at + bytes.len();
        self.grow(range.end)?;
        self.has_blocks(&range);
        // Dirty whatever the bytes are: zeros too have to mark the block as written.
        self.dirty.extend(self.unwritten.range(pages_of(&range)));
        self.is_written_now(pages_of(&range));
        self.put(bytes, at)
    }

    /// Changes the cache, inside the file.
    fn put(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        let range = at..at + bytes.len();
        if let Some(memory) = &self.memory {
            write_all(memory, bytes, at)?;
            return self.look(pages_of(&range)).map(drop);
        }
        for page in pages_of(&range) {
            let start = page * PAGE;
            let (from, until) = (range.start.max(start), range.end.min(start + PAGE));
            let new = &bytes[from - at..until - at];
            if self.cache.get(page)[from - start..until - start] != *new {
                let mut now = **self.cache.get(page);
                now[from - start..until - start].copy_from_slice(new);
                self.note(page, &now);
            }
        }
        Ok(())
    }

    /// What a direct write does to blocks that were only allocated; it is told if they cannot be marked as written. Whether
    /// the disk will know is another matter.
    pub(super) fn mark_written(&self, range: &Range<usize>, becomes: Unwritten) -> io::Result<()> {
        let pages = pages_of(range);
        let unwritten = self.unwritten.range(pages).next().is_some();
        if unwritten && becomes == Unwritten::Left {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    }

    /// What a process sees.
    pub(super) fn read(&self, to: &mut [u8], at: usize) -> io::Result<usize> {
        let n = self.len().saturating_sub(at).min(to.len());
        match &self.memory {
            Some(memory) => read_all(memory, &mut to[..n], at)?,
            None => self.cache.read(&mut to[..n], at),
        }
        Ok(n)
    }

    /// What a direct read sees: dirty pages are written back first, of the others the disk has the say.
    pub(super) fn read_direct(&mut self, to: &mut [u8], at: usize) -> io::Result<usize> {
        self.look_at_all()?;
        let n = self.len().saturating_sub(at).min(to.len());
        for page in pages_of(&(at..at + n)) {
            let (from, until) = ((page * PAGE).max(at), ((page + 1) * PAGE).min(at + n));
            let has_the_say = if self.dirty.contains(&page) { &self.cache } else { &self.disk };
            has_the_say.read(&mut to[from - at..until - at], from);
        }
        Ok(n)
    }

    /// The blocks go back; the bytes read as zero.
    pub(super) fn punch(&mut self, range: Range<usize>) -> io::Result<()> {
        let range = range.start..range.end.min(self.len());
        self.put(&vec![0; range.len()], range.start)?;
        for page in pages_of(&range) {
            Arc::make_mut(&mut self.allocated).remove(&page);
            Arc::make_mut(&mut self.unwritten).remove(&page);
        }
        Ok(())
    }

    /// Memory to map, which is the cache from now on.
    pub(super) fn map(&mut self, writable: bool) -> io::Result<&OwnedFd> {
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => {
                let memory = memfd_create("duralog-sim", MemfdFlags::CLOEXEC)?;
                ftruncate(&memory, self.len() as u64)?;
                for (page, bytes) in self.cache.filled() {
                    let end = self.len().min((page + 1) * PAGE);
                    write_all(&memory, &bytes[..end - page * PAGE], page * PAGE)?;
                }
                memory
            }
        };
        self.mappings += 1;
        self.stored_to |= writable;
        Ok(self.memory.insert(memory))
    }

    /// So many mappings are gone; what was stored through them was seen.
    pub(super) fn unmap(&mut self, mappings: usize) {
        self.mappings -= mappings;
        if self.mappings == 0 {
            (self.memory, self.stored_to) = (None, false);
        }
    }

    /// Takes note of what was stored since; the first page that was stored to without a block, where
    /// on a full disk a real store would have been a signal.
    pub(super) fn look_at_all(&mut self) -> io::Result<Option<usize>> {
        if self.stored_to { self.look(0..self.pages()) } else { Ok(None) }
    }

    fn look(&mut self, pages: Range<usize>) -> io::Result<Option<usize>> {
        let (mut in_a_hole, start) = (None, pages.start * PAGE);
        let Some(memory) = &self.memory else { return Ok(None) };
        let mut now = std::mem::take(&mut self.now);
        now.resize(pages.len() * PAGE, 0);
        let end = self.len().min(pages.end * PAGE) - start;
        read_all(memory, &mut now[..end], start)?;
        now[end..].fill(0);
        for (page, now) in pages.zip(now.chunks_exact(PAGE)) {
            if now != &self.cache.get(page)[..]
                && self.note(page, now)
                && !self.allocated.contains(&page)
            {
                in_a_hole = in_a_hole.or(Some(page));
            }
        }
        self.now = now;
        Ok(in_a_hole)
    }

    /// The page has changed; whether it was clean.
    fn note(&mut self, page: usize, now: &[u8]) -> bool {
        let now = whole(now);
        for sector in page * SECTORS..(page + 1) * SECTORS {
            let seen = self.versions.get(&sector).and_then(|versions| versions.last());
            let seen = seen.unwrap_or(self.disk.get(page));
            if seen[in_page(sector)] != now[in_page(sector)] {
                self.versions.entry(sector).or_default().push(Arc::clone(&now));
            }
        }
        self.cache.set(page, &now);
        self.is_written_now(page..page + 1);
        self.dirty.insert(page)
    }

    /// A sync that succeeds: the disk has all that was written to these pages before it; length and blocks are
    /// the whole file's.
    pub(super) fn sync_range(&mut self, range: Range<usize>, becomes: Unwritten) -> io::Result<()> {
        self.look_at_all()?;
        if becomes != Unwritten::Written {
            let lost: Vec<usize> =
                self.dirty.intersection(&self.unwritten_on_disk).copied().collect();
            self.clean_pages(&range, |page| if lost.contains(&page) { 0 } else { u8::MAX });
            match becomes {
                Unwritten::Left => Arc::make_mut(&mut self.unwritten).extend(lost),
                _ => return Ok(()),
            }
        }
        self.clean_pages(&range, |_| u8::MAX);
        self.lens = vec![self.len()];
        self.allocated_on_disk = Arc::clone(&self.allocated);
        self.unwritten_on_disk = Arc::clone(&self.unwritten);
        Ok(())
    }

    /// A sync that fails, as Linux has it: some pages reached the disk, some did not, of some a part of the sectors,
    /// and all of them count as clean from now on, so that the next sync succeeds and writes nothing.
    pub(super) fn fail_sync(
        &mut self,
        range: &Range<usize>,
        choose: &mut dyn Choose,
    ) -> io::Result<()> {
        self.look_at_all()?;
        self.clean_pages(range, |_| match choose.choose(4) {
            0 => 0,
            1 => (0..SECTORS).fold(0, |some, at| some | u8::from(choose.choose(2) == 1) << at),
            _ => u8::MAX,
        });
        Ok(())
    }

    /// `reaches`: which sectors of a page reach the disk, a bit for each.
    fn clean_pages(&mut self, range: &Range<usize>, mut reaches: impl FnMut(usize) -> u8) {
        let pages = pages_of(range);
        for page in std::mem::take(&mut self.dirty) {
            if !pages.contains(&page) {
                self.dirty.insert(page);
                continue;
            }
            match reaches(page) {
                0 => {}
                u8::MAX => self.disk.set(page, self.cache.get(page)),
                some => {
                    for sector in (0..SECTORS).filter(|sector| some >> sector & 1 == 1) {
                        let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                        let new = &self.cache.get(page)[bytes.clone()];
                        self.disk.own(page)[bytes].copy_from_slice(new);
                    }
                }
            }
            for sector in page * SECTORS..(page + 1) * SECTORS {
                self.versions.remove(&sector);
            }
        }
    }

    /// Clean pages that no one maps are forgotten: the next look brings them from the disk.
    pub(super) fn drop_cache(&mut self) {
        if self.mappings > 0 {
            return;
        }
        for page in (0..self.pages()).filter(|page| !self.dirty.contains(page)) {
            if !self.cache.is_same(&self.disk, page) {
                self.cache.set(page, self.disk.get(page));
            }
        }
    }

    /// What a power cut now may leave of it.
    pub(super) fn after_power_cut(&self, choose: &mut dyn Choose) -> Inode {
        let len = self.lens[choose.choose(self.lens.len())];
        let mut disk = self.disk.clone();
        for (sector, versions) in &self.versions {
            let (page, here) = (sector / SECTORS, in_page(*sector));
            let kept = choose.choose(versions.len() + 1);
            if let Some(version) = kept.checked_sub(1).and_then(|kept| versions.get(kept)) {
                // While it was stored to, a word was the one before or this one.
                let mixture = choose.mix();
                let before = kept.checked_sub(2).and_then(|before| versions.get(before));
                let to = &mut disk.own(page)[here.clone()];
                if let Some(before) = before {
                    to.copy_from_slice(&before[here.clone()]);
                }
                for (word, new) in version[here].chunks(8).enumerate() {
                    if mixture >> word & 1 == 1 {
                        to[word * 8..][..8].copy_from_slice(new);
                    }
                }
            }
        }
        let changed = self.allocated != self.allocated_on_disk;
        let newer = changed && choose.choose(2) == 1;
        let allocated = if newer { &self.allocated } else { &self.allocated_on_disk };
        disk.resize(len.div_ceil(PAGE));
        if len % PAGE > 0 && disk.get(len / PAGE)[len % PAGE..].iter().any(|byte| *byte != 0) {
            disk.own(len / PAGE)[len % PAGE..].fill(0);
        }
        let unwritten = if newer { &self.unwritten } else { &self.unwritten_on_disk };
        let left = Inode::with(disk, len, Arc::clone(allocated));
        let (unwritten, unwritten_on_disk) = (Arc::clone(unwritten), Arc::clone(unwritten));
        Inode { unwritten, unwritten_on_disk, ..left }
    }

    /// The same file with another content, all of it on the disk.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        let allocated = Arc::new(pages_of(&(0..bytes.len())).collect());
        let (handles, mappings) = (self.handles, self.mappings);
        *self = Inode::with(Pages::of(bytes), bytes.len(), allocated);
        (self.handles, self.mappings) = (handles, mappings);
    }
}

fn pages_of(range: &Range<usize>) -> Range<usize> {
    range.start / PAGE..range.end.div_ceil(PAGE)
}

fn write_all(to: &OwnedFd, bytes: &[u8], at: usize) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += pwrite(to, &bytes[written..], (at + written) as u64)?;
    }
    Ok(())
}

fn read_all(from: &OwnedFd, to: &mut [u8], at: usize) -> io::Result<()> {
    let mut read = 0;
    while read < to.len() {
        match pread(from, &mut to[read..], (at + read) as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read += n,
        }
    }
    Ok(())
}
