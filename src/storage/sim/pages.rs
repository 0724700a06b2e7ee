//! The pages of a file, shared by all who have the same: a crash state is a copy, and most of it is never
//! written to again.

use std::sync::{Arc, LazyLock};

/// The kernel writes back whole pages; a page reaches the disk sector by sector.
pub(super) const PAGE: usize = 4096;

pub(super) type Page = Arc<[u8; PAGE]>;

static ZERO: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE]));

/// A page that begins with these bytes; the rest is zero.
pub(super) fn whole(bytes: &[u8]) -> Page {
    let mut page = [0; PAGE];
    page[..bytes.len()].copy_from_slice(bytes);
    Arc::new(page)
}

/// Copied when it is written to, page by page.
#[derive(Clone, Debug)]
pub(super) struct Pages(Arc<Vec<Page>>);

impl Pages {
    /// The bytes, and zeros up to a whole page.
    pub(super) fn of(bytes: &[u8]) -> Pages {
        Pages(Arc::new(bytes.chunks(PAGE).map(whole).collect()))
    }

    /// Makes it so many pages; new ones are zero.
    pub(super) fn resize(&mut self, pages: usize) {
        if self.0.len() != pages {
            Arc::make_mut(&mut self.0).resize(pages, Arc::clone(&ZERO));
        }
    }

    pub(super) fn get(&self, page: usize) -> &Page {
        &self.0[page]
    }

    pub(super) fn set(&mut self, page: usize, to: &Page) {
        if !Arc::ptr_eq(&self.0[page], to) {
            Arc::make_mut(&mut self.0)[page] = Arc::clone(to);
        }
    }

    /// A page to write to, this file's own.
    pub(super) fn own(&mut self, page: usize) -> &mut [u8; PAGE] {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[page])
    }

    pub(super) fn is_same(&self, other: &Pages, page: usize) -> bool {
        let (a, b) = (&self.0[page], &other.0[page]);
        Arc::ptr_eq(a, b) || a == b
    }

    /// Copies out from byte `at` on.
    pub(super) fn read(&self, to: &mut [u8], at: usize) {
        let mut read = 0;
        while read < to.len() {
            let (page, from) = ((at + read) / PAGE, (at + read) % PAGE);
            let n = (PAGE - from).min(to.len() - read);
            to[read..read + n].copy_from_slice(&self.0[page][from..from + n]);
            read += n;
        }
    }

    /// The pages that are not known to be zero.
    pub(super) fn filled(&self) -> impl Iterator<Item = (usize, &Page)> {
        self.0.iter().enumerate().filter(|(_, page)| !Arc::ptr_eq(page, &ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_shares_its_pages_until_one_is_written_to() {
        let mut file = Pages::of(&[7; 3 * PAGE - 100]);
        let copy = file.clone();
        assert!((0..3).all(|page| Arc::ptr_eq(file.get(page), copy.get(page))));
        file.own(1)[5] = 8;
        assert!(Arc::ptr_eq(file.get(0), copy.get(0)) && !file.is_same(&copy, 1));
        let mut there = vec![1; 200];
        copy.read(&mut there, 3 * PAGE - 200);
        assert_eq!(there, [[7; 100], [0; 100]].concat());
        assert_eq!(copy.get(1)[5], 7);
    }
}
