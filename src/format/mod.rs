//! The bytes of the log, as FORMAT.md specifies them: pure functions on slices. No files, no
//! threads, no clock; every decoder is total: any bytes give a value or an error.

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod manifest;
pub(crate) mod notes;
pub(crate) mod pulse;
pub(crate) mod watermark;

pub(crate) const VERSION: u32 = 1;

/// Frames begin here; no write of a frame touches the page of the header.
pub(crate) const DATA_START: u64 = 4096;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// Kept free at the end of a segment: an end frame and the zero word behind it.
pub(crate) const END_ROOM: u64 = frame::END_LEN + 8;

pub(crate) const MIN_SEGMENT_SIZE: u64 = 16 << 10;
pub(crate) const MAX_SEGMENT_SIZE: u64 = 4 << 30;
/// No window reaches beyond; so positions never overflow in arithmetic.
pub(crate) const MAX_LSN: u64 = 1 << 63;

const _: () = {
    assert!(frame::END_LEN % ALIGN == 0 && frame::MARK_LEN % ALIGN == 0);
    assert!(MIN_SEGMENT_SIZE > DATA_START + END_ROOM + frame::MARK_LEN);
    assert!(header::LEN as u64 <= DATA_START);
};

pub(crate) fn is_segment_size(size: u64) -> bool {
    (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size) && size % DATA_START == 0
}

/// The bytes of frames that a segment of `size` holds, a mark before them included.
pub(crate) fn segment_capacity(size: u64) -> u64 {
    size.saturating_sub(DATA_START + END_ROOM)
}

/// The largest payload that fits in an empty segment of `size`, behind a mark.
pub(crate) fn payload_capacity(size: u64) -> usize {
    let room = segment_capacity(size).saturating_sub(frame::MARK_LEN + frame::HEADER_LEN);
    usize::try_from(room.min(u64::from(frame::MAX_PAYLOAD))).unwrap_or(usize::MAX)
}

const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The blocks of `bytes` that hold something, with where each begins. No frame begins where all is zero: a search passes
/// over what was never written by one comparison a block, which is fast in a debug build too.
pub(crate) fn blocks_with_data(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let blocks = bytes.chunks(BLOCK).enumerate();
    let begun = blocks.filter(|(_, block)| Some(*block) != ZEROS.get(..block.len()));
    begun.map(|(index, block)| (index * BLOCK, block))
}

/// The `N` bytes at `at`, if they are there.
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}
