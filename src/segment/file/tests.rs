use super::*;
use crate::storage::sim::{SimDisk, Unwritten};

/// What is filled ahead counts as written from then on, and a commit there asks no more: so whoever fills has to.
#[test]
fn p1_what_is_filled_ahead_counts_as_written_only_once_it_is_proven() {
    let (size, range) = (64 << 10, 8192..16384);
    for becomes in [Unwritten::Written, Unwritten::Left, Unwritten::Forgotten] {
        let disk = SimDisk::new(1);
        let (directory, _) = disk.directory();
        let identity = Identity { log_id: [7; 16], id: 1, base: 0, size, salt: 3 };
        let file = Segment::create(&*directory, identity, range.start).unwrap();
        let path = directory.path().join(file_name(1));
        let (segment, _) =
            Segment::map(path, file, identity, true, DATA_START, 0..range.start).unwrap();
        disk.set_unwritten(becomes);
        let ahead = Ahead { range: range.clone(), fills: true, reads: false };
        let filled = segment.get_ready(&*directory, &ahead).is_ok();
        let written = becomes == Unwritten::Written;
        assert_eq!(filled && segment.proven.covers(&range), written, "{becomes:?}");
    }
}
