//! A manifest of arbitrary bytes among sound segments.
//!
//! The first byte: bit 2 a closed log, 3 inspect too, 4 no watermark, 7 the
//! length and the checksums are mended. The others are the manifest.

use super::common::{exercise, inspect, mend, template};

pub fn run(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let mut files = template(flag(2)).clone();
    files.retain(|(name, _)| name != "MANIFEST" && !(flag(4) && name == "WATERMARK"));
    let mut manifest = bytes.to_vec();
    if flag(7) {
        mend("MANIFEST", &mut manifest);
    }
    // In order, as on the disk.
    files.insert(0, ("MANIFEST".into(), manifest));
    if flag(3) {
        inspect(&files);
    }
    exercise(&files, data);
}
