//! A directory made of arbitrary bytes, opened, replayed, appended to and opened again: records or an error,
//! never a panic, never without end (P11).
//!
//! The input begins with a byte of flags; then come edits of a small sound log: file, position, length,
//! bytes. Checksums that an edit broke are mended if the flags say so, by the rules of FORMAT.md and not by
//! the crate's code, so that what lies behind them is reached.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

const SIZE: u64 = 16 << 10;

/// A sound log: two sealed segments, an active one with records, a ready one; not closed.
fn template() -> &'static Vec<(String, Vec<u8>)> {
    static TEMPLATE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let log = duralog::Options::new().segment_size(SIZE).open(dir.path()).unwrap();
        for n in 0..3u8 {
            log.append_durable(&[n; 40]).unwrap();
            log.append_batch(&[[n; 8], [n; 8]]).unwrap();
            log.append_durable(b"").unwrap();
            if n < 2 {
                log.roll().unwrap();
            }
        }
        log.append(b"not committed").unwrap();
        drop(log);
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .flatten()
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
            .filter(|(name, _)| name != "RESERVE")
            .collect();
        files.sort();
        files
    })
}

fn mend(name: &str, bytes: &mut [u8]) {
    if bytes.len() < 76 {
        return;
    }
    let sum = crc32c::crc32c(&bytes[..16]).to_le_bytes();
    bytes[16..20].copy_from_slice(&sum);
    let at = if name.starts_with("MANIFEST") { bytes.len() - 4 } else { 72 };
    let sum = crc32c::crc32c(&bytes[..at]).to_le_bytes();
    bytes[at..at + 4].copy_from_slice(&sum);
}

/// Mends every frame that the lengths lead to.
fn mend_frames(bytes: &mut [u8]) {
    let u32_at = |b: &[u8], at: usize| u32::from_le_bytes(b[at..at + 4].try_into().unwrap());
    let u64_at = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
    if bytes.len() < 4096 {
        return;
    }
    let (seed, base) = (u32_at(bytes, 72), u64_at(bytes, 48));
    let mut at = 4096;
    while at + 8 <= bytes.len() {
        let len = (u32_at(bytes, at + 4) & 0x0FFF_FFFF) as usize;
        if u32_at(bytes, at + 4) == 0 || at + 8 + len > bytes.len() {
            break;
        }
        let position = (base.wrapping_add(at as u64) / 8) as u32;
        let sum = crc32c::crc32c_append(seed ^ position, &bytes[at + 4..at + 8 + len]).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&sum);
        at += 8 + len.next_multiple_of(8);
    }
}

fn build(dir: &Path, data: &[u8]) -> Option<()> {
    let (flags, mut data) = data.split_first()?;
    let mut files = template().clone();
    while let Some((head, rest)) = data.split_first_chunk::<5>() {
        let index = usize::from(head[0]) % files.len();
        let file = &mut files[index].1;
        let len = usize::from(head[3]).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        let at = usize::from(u16::from_le_bytes([head[1], head[2]]));
        match head[4] % 8 {
            0 => file.truncate(at),
            1 => file.extend_from_slice(bytes),
            2 => *file = bytes.to_vec(),
            _ => {
                let end = (at + len).min(file.len());
                if at < end {
                    file[at..end].copy_from_slice(&bytes[..end - at]);
                }
            }
        }
        data = rest;
    }
    for (index, (name, bytes)) in files.iter_mut().enumerate() {
        if flags & 0x80 != 0 {
            mend(name, bytes);
        }
        if flags & 0x40 != 0 && name.ends_with(".seg") {
            mend_frames(bytes);
        }
        // One file may be missing.
        if usize::from(flags & 0x0F) != index + 1 {
            std::fs::write(dir.join(name), bytes).ok()?;
        }
    }
    Some(())
}

fn exercise(dir: &PathBuf) {
    if let Ok(inspector) = duralog::inspect::Inspector::open(dir) {
        inspector.records().for_each(drop);
        drop(inspector.verify());
    }
    for _ in 0..2 {
        let Ok(log) = duralog::Options::new().segment_size(SIZE).open(dir) else { return };
        let before: Vec<_> = log.replay().collect();
        let sound = before.iter().all(|record| record.is_ok());
        if let Ok(lsn) = log.append_durable(b"after") {
            assert_eq!(log.read(lsn).unwrap().payload(), b"after");
            if sound {
                assert_eq!(log.replay().count(), before.len() + 1);
            }
        }
        drop(before);
    }
}

fuzz_target!(|data: &[u8]| {
    // In memory where the system has it: the fuzzer is not about the disk.
    let root = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(root).unwrap();
    if build(dir.path(), data).is_some() {
        exercise(&dir.path().to_path_buf());
    }
});
