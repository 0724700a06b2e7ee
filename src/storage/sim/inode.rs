//! One simulated file: what any process sees of it (the cache), what a power cut certainly leaves (the
//! disk), and between them every version of every sector since the last sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};

use super::choice::Choose;

/// The kernel writes back whole pages; a page reaches the disk sector by sector.
pub(super) const PAGE: usize = 4096;
pub(super) const SECTOR: usize = 512;

/// The bytes of a sector or a page.
fn place(index: usize, unit: usize) -> Range<usize> {
    index * unit..(index + 1) * unit
}

#[derive(Debug)]
pub(super) struct Inode {
    /// The page cache: real memory, so that real mappings and real reads of it agree.
    pub(super) cache: OwnedFd,
    /// The cache when its pages were last clean: what differs from it is dirty.
    clean: Vec<u8>,
    /// What is on the disk, whatever happens.
    disk: Vec<u8>,
    /// The durable length, then each one since.
    lens: Vec<usize>,
    /// Of each sector of a dirty page, each content since it was durable, oldest first.
    versions: BTreeMap<usize, Vec<Vec<u8>>>,
    dirty: BTreeSet<usize>,
    /// Pages with a block; and which of them have it after a power cut.
    allocated: BTreeSet<usize>,
    allocated_on_disk: BTreeSet<usize>,
    /// Open handles: a file without a name lives as long as it has one.
    pub(super) handles: usize,
    pub(super) mappings: usize,
    /// Someone may store through a mapping: it has to be looked at.
    pub(super) stored_to: bool,
}

impl Inode {
    /// A new file: empty, on the disk too.
    pub(super) fn new() -> io::Result<Inode> {
        Inode::with(&[], BTreeSet::new())
    }

    /// A file that is all on the disk.
    pub(super) fn with(bytes: &[u8], allocated: BTreeSet<usize>) -> io::Result<Inode> {
        let cache = memfd_create("duralog-sim", MemfdFlags::CLOEXEC)?;
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(PAGE), 0);
        ftruncate(&cache, bytes.len() as u64)?;
        write_all(&cache, bytes, 0)?;
        Ok(Inode {
            cache,
            clean: padded.clone(),
            disk: padded,
            lens: vec![bytes.len()],
            versions: BTreeMap::new(),
            dirty: BTreeSet::new(),
            allocated: allocated.clone(),
            allocated_on_disk: allocated,
            handles: 0,
            mappings: 0,
            stored_to: false,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.lens.last().copied().unwrap_or(0)
    }

    pub(super) fn pages_allocated(&self) -> usize {
        self.allocated.len()
    }

    pub(super) fn is_allocated(&self) -> bool {
        (0..self.len().div_ceil(PAGE)).all(|page| self.allocated.contains(&page))
    }

    /// How many more pages a write or an allocation of `range` needs.
    pub(super) fn pages_missing(&self, range: &Range<usize>) -> usize {
        pages_of(range).filter(|page| !self.allocated.contains(page)).count()
    }

    fn grow(&mut self, len: usize) -> io::Result<()> {
        if len > self.len() {
            ftruncate(&self.cache, len as u64)?;
            self.lens.push(len);
            self.clean.resize(len.next_multiple_of(PAGE), 0);
            self.disk.resize(len.next_multiple_of(PAGE), 0);
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, len: usize) -> io::Result<()> {
        self.allocated.extend(pages_of(&(0..len)));
        self.grow(len)
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        let range = at..at + bytes.len();
        self.grow(range.end)?;
        self.allocated.extend(pages_of(&range));
        write_all(&self.cache, bytes, at)?;
        self.look(pages_of(&range)).map(drop)
    }

    /// What a process sees.
    pub(super) fn read(&self, to: &mut [u8], at: usize) -> io::Result<usize> {
        let mut read = 0;
        while read < to.len() {
            match pread(&self.cache, &mut to[read..], (at + read) as u64)? {
                0 => break,
                n => read += n,
            }
        }
        Ok(read)
    }

    /// What a direct read sees: dirty pages are written back first, of the others the disk has the say.
    pub(super) fn read_direct(&mut self, to: &mut [u8], at: usize) -> io::Result<usize> {
        self.look_at_all()?;
        let read = self.read(to, at)?;
        for page in pages_of(&(at..at + read)).filter(|page| !self.dirty.contains(page)) {
            let on_disk = place(page, PAGE);
            let (from, until) = (on_disk.start.max(at), on_disk.end.min(at + read));
            to[from - at..until - at].copy_from_slice(&self.disk[from..until]);
        }
        Ok(read)
    }

    /// The blocks go back; the bytes read as zero.
    pub(super) fn punch(&mut self, range: Range<usize>) -> io::Result<()> {
        let range = range.start..range.end.min(self.len());
        write_all(&self.cache, &vec![0; range.len()], range.start)?;
        self.look(pages_of(&range))?;
        for page in pages_of(&range) {
            self.allocated.remove(&page);
        }
        Ok(())
    }

    /// Takes note of what was stored since; the first page that was stored to without a block, where
    /// on a full disk a real store would have been a signal.
    pub(super) fn look_at_all(&mut self) -> io::Result<Option<usize>> {
        if self.stored_to { self.look(0..self.len().div_ceil(PAGE)) } else { Ok(None) }
    }

    fn look(&mut self, pages: Range<usize>) -> io::Result<Option<usize>> {
        let mut in_a_hole = None;
        let start = pages.start * PAGE;
        let mut now = vec![0; pages.len() * PAGE];
        self.read(&mut now, start)?;
        for page in pages {
            let here = place(page, PAGE);
            let now = &now[here.start - start..here.end - start];
            if now != &self.clean[here]
                && self.dirty.insert(page)
                && !self.allocated.contains(&page)
            {
                in_a_hole = in_a_hole.or(Some(page));
            }
            if !self.dirty.contains(&page) {
                continue;
            }
            for (i, now) in now.chunks(SECTOR).enumerate() {
                let sector = page * (PAGE / SECTOR) + i;
                let seen = self.versions.get(&sector).and_then(|versions| versions.last());
                if seen.map_or(&self.disk[place(sector, SECTOR)], |seen| &seen[..]) != now {
                    self.versions.entry(sector).or_default().push(now.to_vec());
                }
            }
        }
        Ok(in_a_hole)
    }

    /// A sync that succeeds: the disk has all that was written before it.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.look_at_all()?;
        self.clean_pages(|_| true)?;
        self.lens = vec![self.len()];
        self.allocated_on_disk = self.allocated.clone();
        Ok(())
    }

    /// A sync that fails, as Linux has it: some pages reached the disk, some did not, and all of them count
    /// as clean from now on, so that the next sync succeeds and writes nothing.
    pub(super) fn fail_sync(&mut self, choose: &mut dyn Choose) -> io::Result<()> {
        self.look_at_all()?;
        self.clean_pages(|_| choose.choose(2) == 1)
    }

    fn clean_pages(&mut self, mut reaches: impl FnMut(usize) -> bool) -> io::Result<()> {
        for page in std::mem::take(&mut self.dirty) {
            let here = place(page, PAGE);
            let mut now = vec![0; PAGE];
            self.read(&mut now, here.start)?;
            if reaches(page) {
                self.disk[here.clone()].copy_from_slice(&now);
            }
            self.clean[here].copy_from_slice(&now);
        }
        self.versions.clear();
        Ok(())
    }

    /// Clean pages that no one maps are forgotten: the next look brings them from the disk.
    pub(super) fn drop_cache(&mut self) -> io::Result<()> {
        if self.mappings > 0 {
            return Ok(());
        }
        for page in 0..self.len().div_ceil(PAGE) {
            let here = place(page, PAGE);
            if !self.dirty.contains(&page) && self.clean[here.clone()] != self.disk[here.clone()] {
                let end = here.end.min(self.len());
                write_all(&self.cache, &self.disk[here.start..end], here.start)?;
                let on_disk = self.disk[here.clone()].to_vec();
                self.clean[here].copy_from_slice(&on_disk);
            }
        }
        Ok(())
    }

    /// What a power cut now may leave of it.
    pub(super) fn after_power_cut(&self, choose: &mut dyn Choose) -> io::Result<Inode> {
        let len = self.lens[choose.choose(self.lens.len())];
        let mut disk = self.disk.clone();
        for (sector, versions) in &self.versions {
            let here = place(*sector, SECTOR);
            let kept = choose.choose(versions.len() + 1);
            if let Some(version) = kept.checked_sub(1).and_then(|kept| versions.get(kept)) {
                // While it was stored to, a word was the one before or this one.
                let mixture = choose.mix();
                let before = kept.checked_sub(2).and_then(|before| versions.get(before));
                let older = before.map_or_else(|| disk[here.clone()].to_vec(), Vec::clone);
                for (word, (new, old)) in version.chunks(8).zip(older.chunks(8)).enumerate() {
                    let taken = if mixture >> word & 1 == 1 { new } else { old };
                    disk[here.start + word * 8..][..8].copy_from_slice(taken);
                }
            }
        }
        let allocated = if self.allocated != self.allocated_on_disk && choose.choose(2) == 1 {
            self.allocated.clone()
        } else {
            self.allocated_on_disk.clone()
        };
        disk.truncate(len);
        Inode::with(&disk, allocated)
    }

    /// The same file with another content, all of it on the disk.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        *self = Inode::with(bytes, pages_of(&(0..bytes.len())).collect())?;
        Ok(())
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
