//! The prefix that all files share, and the header of a segment (FORMAT.md, sections 3 and 5).

use super::{
    DATA_START, MAX_LSN, MAX_SEGMENT_SIZE, VERSION, bytes_at, is_segment_size, u32_at, u64_at,
};
use crate::checksum;

pub(crate) const PREFIX_LEN: usize = 24;
pub(crate) const LEN: usize = 76;
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"duralogS";
/// In the place of a segment's magic: a file that is kept to be used again, and holds nothing of the log.
pub(crate) const SPARE_MAGIC: [u8; 8] = *b"duralogF";
pub(crate) const MANIFEST_MAGIC: [u8; 8] = *b"duralogM";

/// Why a file's first bytes were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Damaged(&'static str),
    Unsupported { version: u32, features: u32 },
}

/// Writes the prefix; `to` has at least its length.
pub(crate) fn encode_prefix(magic: [u8; 8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&checksum::of(&bytes).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Checks the prefix. The same in every version, so that "newer" is never mistaken for "damaged".
pub(crate) fn decode_prefix(bytes: &[u8], magic: [u8; 8]) -> Result<(), Refusal> {
    let short = Refusal::Damaged("the file is too short");
    if bytes_at(bytes, 0).ok_or(short)? != magic {
        return Err(Refusal::Damaged("the magic is wrong"));
    }
    let version = u32_at(bytes, 8).ok_or(short)?;
    let features = u32_at(bytes, 12).ok_or(short)?;
    let sum = checksum::of(bytes.get(..16).ok_or(short)?);
    if u32_at(bytes, 16).ok_or(short)? != sum || u32_at(bytes, 20).ok_or(short)? != 0 {
        return Err(Refusal::Damaged("the checksum of the prefix is wrong"));
    }
    if version != VERSION || features != 0 {
        return Err(Refusal::Unsupported { version, features });
    }
    Ok(())
}

/// Who a segment is: one life of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) log_id: [u8; 16],
    pub(crate) id: u64,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) salt: u64,
}

impl Identity {
    /// The header's bytes. The last four, its checksum, are the seed of every frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = encode_prefix(SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.log_id);
        for field in [self.id, self.base, self.size, self.salt] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum::of(&bytes).to_le_bytes());
        debug_assert_eq!(bytes.len(), LEN);
        bytes
    }

    /// Binds the checksums of a segment's frames to this life of it.
    pub(crate) fn seed(&self) -> u32 {
        u32_at(&self.encode(), LEN - 4).unwrap_or(0)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Identity, Refusal> {
        decode_prefix(bytes, SEGMENT_MAGIC)?;
        let short = Refusal::Damaged("the file is too short");
        let field = |at| u64_at(bytes, at).ok_or(short);
        let sum = checksum::of(bytes.get(..LEN - 4).ok_or(short)?);
        if u32_at(bytes, LEN - 4).ok_or(short)? != sum {
            return Err(Refusal::Damaged("the checksum of the header is wrong"));
        }
        let identity = Identity {
            log_id: bytes_at(bytes, PREFIX_LEN).ok_or(short)?,
            id: field(40)?,
            base: field(48)?,
            size: field(56)?,
            salt: field(64)?,
        };
        let Identity { id, base, size, .. } = identity;
        let is_possible = is_segment_size(size)
            && base % DATA_START == 0
            && base <= MAX_LSN - MAX_SEGMENT_SIZE
            && id <= MAX_LSN;
        let impossible = Refusal::Damaged("its header names an impossible window");
        is_possible.then_some(identity).ok_or(impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity =
        Identity { log_id: [7; 16], id: 3, base: 131_072, size: 65536, salt: 0xDEAD_BEEF };

    #[test]
    fn a_header_comes_back() {
        assert_eq!(Identity::decode(&IDENTITY.encode()), Ok(IDENTITY));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_damage_never_another_version() {
        let good = IDENTITY.encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Identity::decode(&bad), Err(Refusal::Damaged(_))), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(matches!(Identity::decode(&good[..len]), Err(Refusal::Damaged(_))));
        }
    }

    #[test]
    fn another_version_is_named_not_called_damage() {
        let mut bytes = IDENTITY.encode();
        bytes[8] = 2;
        let sum = checksum::of(&bytes[..16]).to_le_bytes();
        bytes[16..20].copy_from_slice(&sum);
        assert_eq!(Identity::decode(&bytes), Err(Refusal::Unsupported { version: 2, features: 0 }));
    }

    #[test]
    fn an_impossible_window_is_damage() {
        for wrong in [
            Identity { id: (1 << 63) + 1, ..IDENTITY },
            Identity { base: 4097, ..IDENTITY },
            Identity { base: (1 << 63) - 4096, ..IDENTITY },
            Identity { size: 8192, ..IDENTITY },
        ] {
            assert!(matches!(Identity::decode(&wrong.encode()), Err(Refusal::Damaged(_))));
        }
    }

    #[test]
    fn another_salt_is_another_seed() {
        assert_ne!(IDENTITY.seed(), Identity { salt: 1, ..IDENTITY }.seed());
    }
}
