//! Random histories: apart from what they are made of, which other tests draw in other ways.

use duralog::{SyncMethod, WriteMethod};
use proptest::prelude::*;

use super::history::{Op, Way};

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![6 => 0..120usize, 2 => 120..1200usize, 1 => 1200..7000usize];
    prop_oneof![
        6 => size.clone().prop_map(Op::Append),
        3 => proptest::collection::vec(size.clone(), 1..5).prop_map(Op::Batch),
        4 => size.prop_map(Op::Durable),
        3 => Just(Op::Commit),
        1 => any::<u8>().prop_map(Op::CommitTo),
        2 => Just(Op::Roll),
        2 => (128u8..).prop_map(Op::Checkpoint),
        1 => (64u8..).prop_map(Op::Truncate),
        1 => (0..300usize).prop_map(Op::Metadata),
        2 => (0..3u8, any::<u8>()).prop_map(|(number, fraction)| Op::Ack(number, fraction)),
        1 => Just(Op::CheckpointToSlowest),
        1 => prop_oneof![
            2 => any::<u8>().prop_map(Op::Archived),
            1 => Just(Op::NotArchived),
            1 => (0..3u8).prop_map(Op::Forget),
        ],
        1 => (0u8..40).prop_map(Op::ResetTo),
        1 => Just(Op::TruncateAll),
        1 => any::<u8>().prop_map(Op::Read),
        3 => Just(Op::Step),
        1 => Just(Op::Close),
        1 => Just(Op::Reopen),
    ]
}

pub(crate) fn way() -> impl Strategy<Value = Way> {
    let write = prop_oneof![
        1 => Just(WriteMethod::Mmap),
        1 => Just(WriteMethod::Pwrite),
        2 => Just(WriteMethod::Auto), // on this disk whichever costs less, one group after another
    ];
    let sync = prop_oneof![3 => Just(SyncMethod::Fdatasync), 1 => Just(SyncMethod::Msync)];
    (write, sync, 0..3usize, 4..7u64).prop_map(|(write, sync, spare, pages)| Way {
        write,
        sync,
        spare,
        pages,
    })
}
