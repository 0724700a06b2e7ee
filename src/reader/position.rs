//! Whether a follower may go on at a position, by the log as it is now.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::manifest::Manifest;
use crate::inspect::{RETRIES, view};
use crate::storage::Directory;
use crate::{Lsn, walk};

/// The newest manifest, by which a follower may go on at `from`.
///
/// # Errors
///
/// `Gone` if what lies right before `from`, or behind it, is not in the log any more, `OutOfRange` beyond every segment; those of
/// `view::current`, and of reading the segment before.
pub(super) fn view_from(disk: &dyn Directory, from: u64) -> Result<Arc<Manifest>> {
    let mut view = view::current(disk)?;
    let mut looks = 0;
    while let Err(error) = check(disk, &view, from) {
        let now = view::newest(disk)?;
        looks += 1;
        // What a running writer did meanwhile is neither damage nor a cut.
        if looks > RETRIES || (now.log_id, now.generation) == (view.log_id, view.generation) {
            return Err(error);
        }
        view = now;
    }
    Ok(view)
}

/// In a segment that is in the log, which then says whether it reaches so far; or where one that held nothing began, since
/// recovery drops those.
fn check(disk: &dyn Directory, view: &Manifest, from: u64) -> Result<()> {
    let (lsn, head) = (Lsn::new(from), Lsn::new(view.head()));
    if from > view.next_base {
        // No record is beyond.
        let end = Lsn::new(view.clean_end.unwrap_or(view.next_base));
        return Err(Error::OutOfRange { lsn, head, end });
    }
    let next = view.segments.partition_point(|entry| entry.base + entry.size <= from);
    if view.segments.get(next).is_some_and(|entry| entry.base <= from) || from == view.checkpoint {
        return Ok(());
    }
    let Some(before) = next.checked_sub(1) else {
        let given_up = from < view::base(view, 0) && from < view.checkpoint;
        let begins = from % DATA_START == 0 && !given_up;
        return if begins { Ok(()) } else { Err(Error::Gone { lsn, head }) };
    };
    if begins_behind(view, before, from) && !was_cut(disk, view, before)? {
        return Ok(());
    }
    Err(Error::Gone { lsn, head })
}

/// Whether a window that is not there began at `from`, with its header or its frames. A record that ended there lay in one that
/// was cut away.
fn begins_behind(view: &Manifest, before: usize, from: u64) -> bool {
    view.segments.get(before).is_some_and(|entry| {
        // As a rule they are of one size; and of those that recovery dropped there may be several.
        let within = (from - entry.base) % entry.size.max(DATA_START);
        within == 0 || within == DATA_START
    })
}

fn was_cut(disk: &dyn Directory, view: &Manifest, index: usize) -> Result<bool> {
    match (view.segments.get(index), walk::says(view, index)) {
        (Some(entry), (_, Some(end))) => {
            walk::was_cut(disk, &entry.identity(view.log_id), entry.base + end)
        }
        _ => Ok(false),
    }
}
