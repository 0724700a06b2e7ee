use proptest::prelude::*;

use super::*;
use crate::storage::{Access, Directory, Disk};

const SIZE: u64 = 256 << 10;
const PLACE: Place = Place { seed: 0x5EED, base: 7 * SIZE, size: SIZE, offset: DATA_START };

/// What stands at a multiple of eight.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    Mark { durable: u64 },
    MarkWithAFlippedBit { durable: u64 },
    Noise { len: usize, seed: u64 },
    Zeros { len: usize },
}

fn put(image: &mut [u8], offset: u64, what: Bytes) {
    let Some(image) = image.get_mut(usize::try_from(offset).unwrap()..) else { return };
    let bytes = match what {
        Bytes::Mark { durable } | Bytes::MarkWithAFlippedBit { durable } => {
            let (word, payload) =
                (frame::word(Kind::Mark, 16), frame::pair(PLACE.base + offset, durable));
            let sum = frame::checksum(PLACE.seed, PLACE.base + offset, word, &payload);
            let sum = sum ^ u32::from(matches!(what, Bytes::MarkWithAFlippedBit { .. }));
            [&sum.to_le_bytes()[..], &word.to_le_bytes(), &payload].concat()
        }
        Bytes::Noise { len, seed } => {
            let mut z = seed | 1;
            let mut next = || {
                z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                z.to_le_bytes()[7]
            };
            (0..len).map(|_| next()).collect()
        }
        Bytes::Zeros { len } => vec![0; len],
    };
    image.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
}

/// FORMAT.md, section 6, by its words: each position of the range, one after the other.
fn each_position(image: &[u8], range: Range<u64>) -> Option<u64> {
    let from = range.start.next_multiple_of(ALIGN);
    let marks = (from..range.end).step_by(8).filter_map(|offset| {
        let at = usize::try_from(offset).unwrap();
        let (first, payload) = (image.get(at..at + 8)?, image.get(at + 8..at + 24)?);
        let here = Place { offset, ..PLACE };
        let head = frame::head(first.try_into().unwrap(), here)?;
        let valid = head.kind == Kind::Mark && frame::is_valid(head, payload, here);
        valid.then(|| frame::operand(payload))
    });
    marks.max()
}

/// The same by the scan, and at how many positions it looked for a head.
fn by_the_scan(image: &[u8], range: Range<u64>) -> (Option<u64>, usize) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("segment"), image).unwrap();
    let file = Disk::open(dir.path()).unwrap().open("segment", Access::Direct).unwrap();
    let mut scan = Scan::new(Window::new(file, SIZE), PLACE.seed, PLACE.base, SIZE, None);
    (scan.highest_mark_in(range).unwrap(), scan.looked_at)
}

fn positions() -> impl Strategy<Value = u64> {
    // Half of them where a block or a look into the window ends.
    let edges = (1..SIZE / 4096, 0..8u64).prop_map(|(block, before)| block * 4096 - before * 8);
    prop_oneof![edges, (0..SIZE / 8).prop_map(|at| at * 8)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let durable = 0..PLACE.base + SIZE;
    prop_oneof![
        4 => durable.clone().prop_map(|durable| Bytes::Mark { durable }),
        1 => durable.prop_map(|durable| Bytes::MarkWithAFlippedBit { durable }),
        1 => (1..20_000usize, any::<u64>()).prop_map(|(len, seed)| Bytes::Noise { len, seed }),
        1 => (1..20_000usize).prop_map(|len| Bytes::Zeros { len }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p5_a_search_that_skips_zeros_finds_what_a_look_at_each_position_finds(
        all in proptest::collection::vec((positions(), bytes()), 0..12),
        from in positions(),
        to in positions(),
    ) {
        let mut image = vec![0; usize::try_from(SIZE).unwrap()];
        all.iter().for_each(|(at, what)| put(&mut image, *at, *what));
        let (found, _) = by_the_scan(&image, from..to);
        prop_assert_eq!(found, each_position(&image, from..to));
    }
}

/// 64 MiB of a segment that was made ready, after a kill: seconds in a debug build, for one look at each position.
#[test]
fn the_search_for_marks_looks_only_where_something_is() {
    let mut image = vec![0; usize::try_from(SIZE).unwrap()];
    put(&mut image, 200_000, Bytes::Mark { durable: 40_000 });
    let (found, looked_at) = by_the_scan(&image, 8192..SIZE);
    assert_eq!(found, Some(40_000));
    assert!(looked_at <= 512, "at {looked_at} of {} positions", SIZE / 8);
    assert_eq!(by_the_scan(&image, 8192..200_000).0, None, "it begins after the range");
}
