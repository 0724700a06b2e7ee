//! CRC-32C, the checksum of everything on the disk (the polynomial of RFC 3720, section 12.1).
//!
//! The crate `crc32c` splits long input into three lanes. Short input it takes byte by byte up to an address that is a
//! multiple of eight, and behind the last one, which costs more than the rest of a short record. So short frames go
//! straight through the CPU's instruction here: 11 ns against 25 at 104 bytes, equal at 640 (AMD EPYC; `crc-fast`
//! takes 26 and 70).

#![allow(unsafe_code, reason = "one call of a function for a CPU that is known to have it")]

/// From here on three lanes are faster.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 640;

/// The checksum of `bytes` alone.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Goes on from `crc`, the checksum of what came before, with a word and what follows it.
#[inline]
pub(crate) fn framed(crc: u32, word: u32, payload: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if payload.len() < LONG && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the CPU has SSE 4.2, which is all that the function asks for.
        return unsafe { short(crc, word, payload) };
    }
    long(crc, word, payload)
}

/// Apart, so that the short way costs its caller no saved registers.
#[inline(never)]
fn long(crc: u32, word: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &word.to_le_bytes()), payload)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(crc: u32, word: u32, payload: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    let mut wide = u64::from(_mm_crc32_u32(!crc, word));
    let mut rest = payload;
    // By blocks first: the compiler unrolls what has a fixed length.
    while let Some((block, behind)) = rest.split_first_chunk::<32>() {
        let mut block: &[u8] = block;
        while let Some((eight, behind)) = block.split_first_chunk() {
            wide = _mm_crc32_u64(wide, u64::from_le_bytes(*eight));
            block = behind;
        }
        rest = behind;
    }
    while let Some((eight, behind)) = rest.split_first_chunk() {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*eight));
        rest = behind;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the instruction leaves the upper half zero"
    )]
    let mut crc = wide as u32;
    if let Some((four, behind)) = rest.split_first_chunk() {
        crc = _mm_crc32_u32(crc, u32::from_le_bytes(*four));
        rest = behind;
    }
    for byte in rest {
        crc = _mm_crc32_u8(crc, *byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32c() {
        assert_eq!(of(b"123456789"), 0xE306_9283);
        assert_eq!(framed(0, u32::from_le_bytes(*b"1234"), b"56789"), 0xE306_9283);
    }

    #[test]
    fn short_and_long_agree_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..2000u32).map(|i| ((i * 31) >> 3).to_le_bytes()[0]).collect();
        for start in 0..9 {
            for len in (0..700).chain([1000, 1900]) {
                let part = &bytes[start..start + len + 4];
                let (word, payload) = part.split_first_chunk().unwrap();
                let framed = framed(7, u32::from_le_bytes(*word), payload);
                assert_eq!(framed, crc32c::crc32c_append(7, part), "{start}+{len}");
            }
        }
    }
}
