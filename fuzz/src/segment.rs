//! One segment of arbitrary bytes among sound ones.
//!
//! The first byte: bits 0 and 1 which segment, 2 of a closed log, 3 inspect too, 4 marks and ends name their
//! own positions, 5 the header is among the bytes, 6 behind the bytes is what was there, else zeros,
//! 7 frames are mended. The others are the segment's, from its header or its frames on.

use super::common::{FRAMES, SIZE, exercise, inspect, mend, mend_frames, read_segment, template};

pub fn run(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let mut files = template(flag(2)).clone();
    let mut segments: Vec<_> =
        files.iter_mut().filter(|(name, _)| name.ends_with(".seg")).collect();
    let index = usize::from(flags & 3) % segments.len();
    let (name, file) = &mut *segments[index];
    let from = if flag(5) { 0 } else { FRAMES };
    if !flag(6) {
        file[from..].fill(0);
    }
    let len = bytes.len().min(SIZE as usize - from);
    file[from..from + len].copy_from_slice(&bytes[..len]);
    if flag(7) {
        mend(name, file);
        mend_frames(file, flag(4));
    }
    read_segment(file);
    if flag(3) {
        inspect(&files);
    }
    exercise(&files, data);
}
