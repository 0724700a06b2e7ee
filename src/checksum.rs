//! CRC-32C, the checksum of everything on the disk (the polynomial of RFC 3720, section 12.1).
//!
//! The crate `crc32c` splits long input into three lanes. Short input it takes byte by byte up to an address that is a
//! multiple of eight, and behind the last one, which costs more than the rest of a short record. So short frames go
//! straight through the CPU's instruction here: 11 ns against 25 at 104 bytes, equal at 640 (AMD EPYC; `crc-fast`
//! takes 26 and 70).

#![allow(unsafe_code, reason = "an instruction of a CPU that is known to have it")]

/// From here on three lanes are faster.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 640;

/// The checksum of `bytes` alone.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Goes on from `crc`, the checksum of what came before.
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x to the power of 8 * 2^k, modulo the polynomial.
const POWERS: [u32; 32] = {
    let mut powers = [1 << (31 - 8); 32];
    let mut k = 1;
    while k < 32 {
        #[expect(clippy::indexing_slicing, reason = "a constant: checked when it is compiled")]
        let last = powers[k - 1];
        #[expect(clippy::indexing_slicing, reason = "a constant: checked when it is compiled")]
        (powers[k] = times(last, last));
        k += 1;
    }
    powers
};

/// The product of two polynomials of which the highest bit is the lowest power.
const fn times(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 1u32 << 31);
    while bit != 0 {
        product ^= if a & bit != 0 { b } else { 0 };
        b = (b >> 1) ^ if b & 1 != 0 { POLYNOMIAL } else { 0 };
        bit >>= 1;
    }
    product
}

/// What a difference of two checksums becomes when `len` bytes more, the same ones, have gone into both: a CRC is linear.
pub(crate) fn shifted(difference: u32, len: u32) -> u32 {
    let powers = POWERS.iter().enumerate().filter(|(k, _)| len >> k & 1 == 1);
    powers.fold(difference, |shifted, (_, power)| times(shifted, *power))
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

/// # Safety
///
/// The CPU has SSE 4.2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[allow(unused_unsafe, reason = "to call the instruction is safe here since Rust 1.87")]
unsafe fn short(crc: u32, word: u32, payload: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    macro_rules! step {
        ($instruction:ident, $crc:expr, $bytes:expr) => {{
            let (crc, bytes) = ($crc, $bytes);
            // SAFETY: the CPU has SSE 4.2, as the caller has seen.
            unsafe { $instruction(crc, bytes) }
        }};
    }

    let mut wide = u64::from(step!(_mm_crc32_u32, !crc, word));
    let mut rest = payload;
    // By blocks first: the compiler unrolls what has a fixed length.
    while let Some((block, behind)) = rest.split_first_chunk::<32>() {
        let mut block: &[u8] = block;
        while let Some((eight, behind)) = block.split_first_chunk() {
            wide = step!(_mm_crc32_u64, wide, u64::from_le_bytes(*eight));
            block = behind;
        }
        rest = behind;
    }
    while let Some((eight, behind)) = rest.split_first_chunk() {
        wide = step!(_mm_crc32_u64, wide, u64::from_le_bytes(*eight));
        rest = behind;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the instruction leaves the upper half zero"
    )]
    let mut crc = wide as u32;
    if let Some((four, behind)) = rest.split_first_chunk() {
        crc = step!(_mm_crc32_u32, crc, u32::from_le_bytes(*four));
        rest = behind;
    }
    for byte in rest {
        crc = step!(_mm_crc32_u8, crc, *byte);
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
    fn a_difference_is_shifted_by_what_follows() {
        let bytes: Vec<u8> = (0..70_000u32).map(|i| ((i * 31) >> 3).to_le_bytes()[0]).collect();
        for len in [0, 1, 7, 8, 255, 4096, 65_535, 70_000] {
            let differs = append(0xABCD_EF01, &bytes[..len]) ^ append(0x1234_5678, &bytes[..len]);
            let shifted = shifted(0xABCD_EF01 ^ 0x1234_5678, u32::try_from(len).unwrap());
            assert_eq!(shifted, differs, "{len}");
        }
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
