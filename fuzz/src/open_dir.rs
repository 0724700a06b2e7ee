//! A directory of arbitrary bytes.
//!
//! The first byte: bit 2 a closed log, 3 inspect too, 4 marks and ends name
//! their own positions, 6 frames and 7 the other checksums are mended. Then come edits of a sound log:
//! file, position (2 bytes), length, what to do, and so many bytes.

use super::common::{Files, exercise, inspect, mend, mend_frames, template};

const STRANGERS: [&str; 4] = ["MANIFEST.new", "RESERVE", "lost+found", "stranger"];
pub const OVERWRITE: u8 = 7;
pub const REMOVE: u8 = 3;
pub const TRUNCATE: u8 = 0;

fn edit(files: &mut Files, mut data: &[u8]) {
    while let Some((head, rest)) = data.split_first_chunk::<5>() {
        let (bytes, rest) = rest.split_at(usize::from(head[3]).min(rest.len()));
        data = rest;
        let at = u16::from_le_bytes([head[1], head[2]]);
        if files.is_empty() {
            return;
        }
        let index = usize::from(head[0]) % files.len();
        let copy = files[index].1.clone();
        let file = &mut files[index].1;
        match head[4] % 8 {
            TRUNCATE => file.truncate(at.into()),
            1 => file.extend_from_slice(bytes),
            2 => *file = bytes.to_vec(),
            REMOVE => drop(files.remove(index)),
            4 => files.push((format!("{at:016x}.seg"), copy)),
            5 => files.push((STRANGERS[usize::from(at) % STRANGERS.len()].into(), copy)),
            _ => {
                let from = usize::from(at).min(file.len());
                let end = (from + bytes.len()).min(file.len());
                file[from..end].copy_from_slice(&bytes[..end - from]);
            }
        }
        if files.len() > 16 {
            return;
        }
    }
}

pub fn run(data: &[u8]) {
    let Some((flags, edits)) = data.split_first() else { return };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let mut files = template(flag(2)).clone();
    edit(&mut files, edits);
    for (name, bytes) in &mut files {
        if flag(7) {
            mend(name, bytes);
        }
        if flag(6) && name.ends_with(".seg") {
            mend_frames(bytes, flag(4));
        }
    }
    if flag(3) {
        inspect(&files);
    }
    exercise(&files, data);
}
