//! One segment file: making it, writing it, reading it, finding where it ends. Knows nothing of
//! other segments.

mod blocks;
mod file;
mod grain;
pub(crate) mod scan;
pub(crate) mod verdict;
mod writer;

pub(crate) use file::{
    Look, Segment, check_there, file_name, id_of, is_ours_alone, open_checked, warm,
};
pub(crate) use grain::{Ahead, Flow, Grain, Way, bulk, chunk};
pub(crate) use writer::SegmentWriter;
