//! A damaged copy of known bytes, mended by the blocks that differ.
//!
//! A node that has a damaged batch sends short sums of the blocks of its copy; who has a good copy sends the blocks
//! that differ. The result is proved where it is used, by the signed root. So sums are 4 bytes, enough to save
//! bytes: two blocks with the same sum mean that the proof fails, and that the whole is fetched instead.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::limits::BATCH_BYTES_MAX;

/// Bytes of a block; the last one of a copy may be shorter.
pub const BLOCK_BYTES: usize = 1_024;

/// Why blocks do not mend a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The whole would be longer than [`BATCH_BYTES_MAX`].
    #[error("{0} bytes are more than a batch has")]
    TooLong(usize),
    /// A block that the whole does not have, or not in ascending order.
    #[error("block {0} has no place")]
    Place(u32),
    /// A block of another length than its place has.
    #[error("block {0} has the wrong length")]
    Length(u32),
    /// The damaged copy ends before this block's end, and the block is not given.
    #[error("block {0} is missing")]
    Missing(u32),
}

/// The sum of each block: the first 4 bytes of its BLAKE3 hash, little-endian. 4 bytes a block, 5 KB for the largest
/// batch.
pub fn sums(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(BLOCK_BYTES).map(sum).collect()
}

fn sum(block: &[u8]) -> u32 {
    let [a, b, c, d, ..] = *blake3::hash(block).as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The blocks of the good copy, ascending, that differ from the sums of the damaged one or lie beyond them. More sums
/// than the good copy has blocks are passed over.
pub fn differing<'a>(good: &'a [u8], sums: &[u32]) -> Vec<(u32, &'a [u8])> {
    let blocks = (0..).zip(good.chunks(BLOCK_BYTES));
    blocks.filter(|(i, block)| sums.get(*i as usize) != Some(&sum(block))).collect()
}

/// The damaged copy, cut or extended to `total_len` bytes, with the blocks put in. Whether that is the good copy, only
/// the signed root can tell.
///
/// # Errors
/// [`PatchError`]; nothing is allocated before `total_len` is found to be at most [`BATCH_BYTES_MAX`].
pub fn patch<B: AsRef<[u8]>>(damaged: &[u8], total_len: usize, blocks: &[(u32, B)]) -> Result<Vec<u8>, PatchError> {
    if total_len > BATCH_BYTES_MAX {
        return Err(PatchError::TooLong(total_len));
    }
    let mut whole = damaged.get(..total_len).unwrap_or(damaged).to_vec();
    let held = whole.len();
    whole.resize(total_len, 0);
    let (mut given, mut end) = (blocks.iter().peekable(), 0_usize);
    for (i, place) in (0..).zip(whole.chunks_mut(BLOCK_BYTES)) {
        end = end.saturating_add(place.len());
        match given.next_if(|(number, _)| *number == i) {
            Some((_, block)) => match block.as_ref() {
                block if block.len() == place.len() => place.copy_from_slice(block),
                _ => return Err(PatchError::Length(i)),
            },
            None if end > held => return Err(PatchError::Missing(i)),
            None => {}
        }
    }
    given.next().map_or(Ok(whole), |(number, _)| Err(PatchError::Place(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(len: usize) -> Vec<u8> {
        (0..len).map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[0]).collect()
    }

    #[test]
    fn frozen_sums() {
        // The first bytes of BLAKE3 of nothing are af1349b9; nothing has no block.
        assert!(sums(b"").is_empty());
        assert_eq!(sums(b"abc"), [u32::from_le_bytes([0x64, 0x37, 0xb3, 0xac])]);
        assert_eq!(sums(&[0; 2 * BLOCK_BYTES + 1]).len(), 3);
    }

    #[test]
    fn one_flipped_bit_moves_one_block() {
        let good = good(100_000);
        let mut damaged = good.clone();
        damaged[50_000] ^= 4;
        let sums = sums(&damaged);
        let blocks = differing(&good, &sums);
        assert_eq!(blocks.iter().map(|(i, b)| (*i, b.len())).collect::<Vec<_>>(), [(48, BLOCK_BYTES)]);
        assert!(sums.len() * 4 + BLOCK_BYTES < 1_500);
        assert_eq!(patch(&damaged, good.len(), &blocks), Ok(good.clone()));
        assert!(differing(&good, &super::sums(&good)).is_empty());
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        let good = good(2_500);
        let block = |i: u32, len: usize| (i, vec![1; len]);
        let patched = |blocks: &[(u32, Vec<u8>)]| patch(&good[..1_000], 2_500, blocks);
        assert_eq!(patched(&[block(0, 1_024), block(1, 1_024)]), Err(PatchError::Missing(2)));
        assert_eq!(patched(&[block(1, 1_024), block(2, 452)]), Err(PatchError::Missing(0)));
        assert_eq!(patched(&[block(0, 1_024), block(1, 1_024), block(2, 453)]), Err(PatchError::Length(2)));
        let whole = |blocks: &[(u32, Vec<u8>)]| patch(&good, 2_500, blocks);
        assert_eq!(whole(&[block(3, 0)]), Err(PatchError::Place(3)));
        assert_eq!(whole(&[block(u32::MAX, 1_024)]), Err(PatchError::Place(u32::MAX)));
        assert_eq!(whole(&[block(1, 1_024), block(0, 1_024)]), Err(PatchError::Place(0)));
        assert_eq!(whole(&[block(1, 1_024), block(1, 1_024)]), Err(PatchError::Place(1)));
        assert_eq!(whole(&[block(1, 0)]), Err(PatchError::Length(1)));
        let most = BATCH_BYTES_MAX + 1;
        assert_eq!(patch::<Vec<u8>>(&[], most, &[]), Err(PatchError::TooLong(most)));
        assert_eq!(patch::<Vec<u8>>(&good, 0, &[]), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn damage_is_mended(
            len in 0_usize..20_000, held in 0_usize..25_000,
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..20)
        ) {
            let good = good(len);
            let mut damaged = good.clone();
            damaged.resize(held, 0xa5);
            for (at, flip) in flips {
                if held > 0 {
                    damaged[at.index(held)] ^= flip;
                }
            }
            let blocks = differing(&good, &sums(&damaged));
            prop_assert_eq!(patch(&damaged, len, &blocks), Ok(good));
        }

        #[test]
        fn any_blocks_are_answered(
            damaged in prop::collection::vec(any::<u8>(), 0..3_000), len in 0_usize..4_000,
            blocks in prop::collection::vec((0_u32..5, prop::collection::vec(any::<u8>(), 0..1_100)), 0..5)
        ) {
            if let Ok(whole) = patch(&damaged, len, &blocks) {
                prop_assert_eq!(whole.len(), len);
            }
        }
    }
}
