//! A place in the journal.

/// A byte offset in a segment file. Positions are ordered as frames were written.
///
/// ```
/// use tally_journal::Position;
///
/// let place = Position { segment: 2, offset: 128 };
/// assert!(place > Position { segment: 1, offset: 4_096 });
/// assert_eq!(Position::unpack(place.pack()), place);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Segment number, from 1 on.
    pub segment: u32,
    /// Byte offset in its file.
    pub offset: u64,
}

const OFFSET_BITS: u32 = 40;

impl Position {
    /// The position as one number of the same order: 24 bits of segment, 40 of offset. Segments are at most 1 GiB long.
    pub fn pack(self) -> u64 {
        debug_assert!(self.offset >> OFFSET_BITS == 0 && self.segment >> 24 == 0);
        (u64::from(self.segment) << OFFSET_BITS) | self.offset
    }

    /// The position that [`Self::pack`] made this number of.
    pub fn unpack(packed: u64) -> Self {
        Self { segment: (packed >> OFFSET_BITS) as u32, offset: packed & ((1 << OFFSET_BITS) - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_positions_keep_their_order() {
        let all = [(1, 0), (1, 128), (1, 1 << 30), (2, 128), (9_999_999, 3)];
        let all = all.map(|(segment, offset)| Position { segment, offset });
        assert!(all.map(Position::pack).is_sorted());
        assert_eq!(all.map(|p| Position::unpack(p.pack())), all);
    }
}
