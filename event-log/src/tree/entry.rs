//! The entry of an event: the bytes that a leaf of the tree is the hash of.
//!
//! An entry binds what an event is (its hash, made before it had a place) to its place: position,
//! batch, time, version in its stream, and its number within its organization. Numbers within an
//! organization have no gap, so that whoever holds the entries 1 to n of one organization knows
//! that none between them is missing, and sees nothing of others. The layout is frozen and written
//! down in `docs/log-format.md`.

use super::hash::leaf_hash;
use crate::Position;
use crate::evidence::Hash;

/// The first bytes of every entry: what it is and in which form.
pub const ENTRY_MAGIC: &[u8; 8] = b"OPSLEAF1";

/// How long an entry is.
pub const ENTRY_BYTES: usize = 84;

/// What the leaf of one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place in the order of everything: 1, 2, 3, …
    pub position: Position,
    /// Place among the events of its organization: 1, 2, 3, …
    pub tenant_sequence: i64,
    /// First position of its batch.
    pub batch_first: Position,
    /// How many events its batch has.
    pub batch_count: i32,
    /// When the batch was recorded, in microseconds since 1970.
    pub recorded_at_micros: i64,
    /// Place in its stream; zero where it has none.
    pub stream_version: i64,
    /// See [`event_hash`](crate::evidence::event_hash).
    pub event_hash: Hash,
}

impl Entry {
    /// As it is hashed and served.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(ENTRY_MAGIC);
        bytes[8..16].copy_from_slice(&self.position.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.tenant_sequence.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.batch_first.0.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.batch_count.to_be_bytes());
        bytes[36..44].copy_from_slice(&self.recorded_at_micros.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.stream_version.to_be_bytes());
        bytes[52..].copy_from_slice(&self.event_hash);
        bytes
    }

    /// Reads one; none when the bytes are no entry of this form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (tenant_sequence, rest) = rest.split_first_chunk()?;
        let (batch_first, rest) = rest.split_first_chunk()?;
        let (batch_count, rest) = rest.split_first_chunk()?;
        let (recorded_at, rest) = rest.split_first_chunk()?;
        let (stream_version, event_hash) = rest.split_first_chunk()?;
        (magic == ENTRY_MAGIC).then_some(())?;
        Some(Self {
            position: Position(i64::from_be_bytes(*position)),
            tenant_sequence: i64::from_be_bytes(*tenant_sequence),
            batch_first: Position(i64::from_be_bytes(*batch_first)),
            batch_count: i32::from_be_bytes(*batch_count),
            recorded_at_micros: i64::from_be_bytes(*recorded_at),
            stream_version: i64::from_be_bytes(*stream_version),
            event_hash: event_hash.try_into().ok()?,
        })
    }

    /// The leaf.
    #[must_use]
    pub fn leaf(self) -> Hash {
        leaf_hash(&self.to_bytes())
    }
}

/// A bundle of entries as tlog-tiles serves it: each after its length in two bytes.
#[must_use]
pub fn bundle(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * (ENTRY_BYTES + 2));
    for entry in entries {
        #[expect(clippy::cast_possible_truncation, reason = "84 fits")]
        bytes.extend_from_slice(&(ENTRY_BYTES as u16).to_be_bytes());
        bytes.extend_from_slice(&entry.to_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_BYTES, Entry};
    use crate::Position;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_is_read_back_as_it_was_written(
            numbers in any::<[i64; 5]>(), batch_count: i32, event_hash: [u8; 32],
        ) {
            let [position, tenant_sequence, batch_first, recorded_at_micros, stream_version] =
                numbers;
            let entry = Entry {
                position: Position(position),
                tenant_sequence,
                batch_first: Position(batch_first),
                batch_count,
                recorded_at_micros,
                stream_version,
                event_hash,
            };
            let bytes = entry.to_bytes();
            prop_assert_eq!(Entry::from_bytes(&bytes), Some(entry));
            for cut in 0..ENTRY_BYTES {
                prop_assert_eq!(Entry::from_bytes(&bytes[..cut]), None);
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Entry::from_bytes(&longer), None);
        }
    }
}
