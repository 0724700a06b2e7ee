//! A frame put together and checked, and its checksum, in the first cache: the work of the CPU alone.
//!
//! Floors: a copy and a checksum by the crate `crc32c`; for the checksum alone, that of the crate.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};

use crate::checksum;
use crate::floor::{HEADER, frame_len, memcpy_crc};
use crate::format::frame::{self, Kind, Place};

const LENS: [usize; 3] = [100, 1 << 10, 16 << 10];
const PLACE: Place = Place { seed: 0x1234_5678, base: 0, size: 1 << 20, offset: 4096 };

fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// As `SegmentWriter::put` does it, into a slice.
#[inline]
fn encode(to: &mut [u8], payload: &[u8], place: Place) {
    let word = frame::word(Kind::Record, u32::try_from(payload.len()).unwrap());
    let crc = frame::checksum(place.seed, place.lsn(), word, payload);
    let head = u64::from(crc) | u64::from(word) << 32;
    let total = to.len();
    to[total - 8..].fill(0);
    to[..HEADER].copy_from_slice(&head.to_le_bytes());
    to[HEADER..HEADER + payload.len()].copy_from_slice(payload);
}

/// As a replay looks at it, out of a slice.
#[inline]
fn decode(from: &[u8], place: Place) -> Option<&[u8]> {
    let head = frame::head(*from.first_chunk()?, place)?;
    let payload = from.get(HEADER..HEADER + head.len as usize)?;
    frame::is_valid(head, payload, place).then_some(payload)
}

#[divan::bench_group]
mod encode {
    use super::*;

    #[divan::bench(args = LENS)]
    fn frame(bencher: Bencher, len: usize) {
        let (payload, mut to) = (payload(len), vec![0; frame_len(len)]);
        bencher.counter(BytesCount::new(len)).bench_local(|| {
            super::encode(black_box(&mut to), black_box(&payload), black_box(PLACE));
        });
    }

    #[divan::bench(args = LENS)]
    fn floor_memcpy_crc(bencher: Bencher, len: usize) {
        let (payload, mut to) = (payload(len), vec![0; frame_len(len)]);
        bencher
            .counter(BytesCount::new(len))
            .bench_local(|| memcpy_crc(black_box(&mut to), black_box(&payload)));
    }
}

#[divan::bench_group]
mod decode {
    use super::*;

    #[divan::bench(args = LENS)]
    fn frame(bencher: Bencher, len: usize) {
        let mut from = vec![0; frame_len(len)];
        encode(&mut from, &payload(len), PLACE);
        assert!(super::decode(&from, PLACE).is_some());
        bencher
            .counter(BytesCount::new(len))
            .bench_local(|| super::decode(black_box(&from), black_box(PLACE)).is_some());
    }

    #[divan::bench(args = LENS)]
    fn floor_crc(bencher: Bencher, len: usize) {
        let from = payload(len);
        bencher.counter(BytesCount::new(len)).bench_local(|| crc32c::crc32c(black_box(&from)));
    }
}

#[divan::bench_group]
mod sum {
    use super::*;

    #[divan::bench(args = LENS)]
    fn checksum(bencher: Bencher, len: usize) {
        let of = payload(len);
        bencher
            .counter(BytesCount::new(len))
            .bench_local(|| checksum::framed(black_box(7), black_box(9), black_box(&of)));
    }

    #[divan::bench(args = LENS)]
    fn floor_crate(bencher: Bencher, len: usize) {
        let of = payload(len);
        bencher
            .counter(BytesCount::new(len))
            .bench_local(|| crc32c::crc32c_append(black_box(7), black_box(&of)));
    }
}
