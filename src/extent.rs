//! From where to where a log can be read: one rule for the log itself and for everyone that looks from outside.

use crate::Lsn;
use crate::error::{Error, Result};

/// The positions of a log at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The first position of the oldest segment.
    pub(crate) head: u64,
    /// No record that begins here or after it has gone: a segment goes if its records end below.
    pub(crate) checkpoint: u64,
    pub(crate) end: u64,
}

impl Extent {
    /// Where reading from `from` begins: there, or at the head if that is after it and no record between the two has gone.
    /// [`Lsn::MIN`] asks for all records that are left.
    pub(crate) fn begin(&self, from: Lsn) -> Result<u64> {
        let Extent { head, checkpoint, end } = *self;
        let at = from.get();
        let is_gone = from > Lsn::MIN && at < head && at < checkpoint;
        if is_gone || at > end.max(head) {
            return Err(Error::OutOfRange { lsn: from, head: Lsn::new(head), end: Lsn::new(end) });
        }
        Ok(at.max(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_the_position_or_at_the_head_if_nothing_between_them_has_gone() {
        // Never checkpointed; checkpointed in the oldest segment, before it, and after all that is left.
        for (head, checkpoint, end, cases) in [
            (
                4096,
                0,
                9000,
                &[(0, Some(4096)), (8, Some(4096)), (9000, Some(9000)), (9001, None)][..],
            ),
            (
                69632,
                70000,
                80000,
                &[(0, Some(69632)), (8, None), (69000, None), (69640, Some(69640))],
            ),
            (69632, 66000, 80000, &[(65999, None), (66000, Some(69632)), (80000, Some(80000))]),
            (65536, 45896, 65536, &[(45896, Some(65536)), (45895, None), (65537, None)]),
            (69632, 65000, 65536, &[(65000, Some(69632)), (69632, Some(69632)), (69633, None)]),
        ] {
            let extent = Extent { head, checkpoint, end };
            for (from, begins) in cases {
                assert_eq!(extent.begin(Lsn::new(*from)).ok(), *begins, "{from} of {extent:?}");
            }
        }
    }
}
