//! The map of organizations to how many events each has, as one root.
//!
//! The numbers within an organization prove that nothing is missing between two of its events.
//! That nothing is missing after the last one is proved by this map: every checkpoint signs its
//! root, and whoever holds one organization's count with the few hashes beside its path knows that
//! the count is what was signed, and learns nothing about others.
//!
//! It is a binary trie over SHA-256 of the organization's id, first bit first. A subtree without
//! organizations is 32 zero bytes, one with a single organization is that organization's hash,
//! anything else the hash of its two halves. The place of an organization follows from its id, so
//! that none can stand in it twice. Leaves and nodes begin with bytes of their own (0x04 and 0x05),
//! apart from everything else that is hashed in the log. Frozen, and in `docs/log-format.md`.

use crate::evidence::Hash;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// What stands for no organization.
const NOBODY: Hash = [0; 32];

/// How many bits of a key name a subtree whose root is remembered.
const KNOWN_DEPTH: usize = 12;

/// The root over a part of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subtree {
    Nobody,
    /// A single organization is its own root, however high it stands.
    One(Hash),
    Many(Hash),
}

impl Subtree {
    fn hash(self) -> Hash {
        match self {
            Self::Nobody => NOBODY,
            Self::One(hash) | Self::Many(hash) => hash,
        }
    }

    fn join(zero: Self, one: Self) -> Self {
        match (zero, one) {
            (Self::Nobody, Self::Nobody) => Self::Nobody,
            (Self::One(only), Self::Nobody) | (Self::Nobody, Self::One(only)) => Self::One(only),
            (zero, one) => Self::Many(node_of(&zero.hash(), &one.hash())),
        }
    }

    /// Of leaves in the order of their keys, which share the bits above this depth.
    fn of(leaves: &[Leaf], depth: usize) -> Self {
        match leaves {
            [] => Self::Nobody,
            [only] => Self::One(only.hash),
            many => {
                let (zero, one) = many.split_at(halves(many, depth));
                Self::join(Self::of(zero, depth + 1), Self::of(one, depth + 1))
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    key: Hash,
    tenant: Uuid,
    count: i64,
    hash: Hash,
}

/// How many of the leaves have a zero at this depth.
fn halves(leaves: &[Leaf], depth: usize) -> usize {
    leaves.partition_point(|leaf| !bit(&leaf.key, depth))
}

/// Counts of all organizations. Subtrees that did not change are not hashed again.
#[derive(Clone, Debug, Default)]
pub struct Organizations {
    leaves: BTreeMap<Hash, Leaf>,
    known: HashMap<u16, Subtree>,
}

impl Organizations {
    /// How many events an organization has.
    #[must_use]
    pub fn count(&self, tenant: Uuid) -> i64 {
        self.leaves.get(&key_of(tenant)).map_or(0, |leaf| leaf.count)
    }

    /// Sets how many events an organization has; with none it is not in the map.
    pub fn set(&mut self, tenant: Uuid, count: i64) {
        let key = key_of(tenant);
        self.known.remove(&prefix(&key));
        if count == 0 {
            self.leaves.remove(&key);
        } else {
            let hash = leaf_of(tenant, count);
            self.leaves.insert(key, Leaf { key, tenant, count, hash });
        }
    }

    /// Every organization with its count, in no order that means anything.
    pub fn counts(&self) -> impl Iterator<Item = (Uuid, i64)> {
        self.leaves.values().map(|leaf| (leaf.tenant, leaf.count))
    }

    /// The root of the map.
    pub fn root(&mut self) -> Hash {
        let mut parts: Vec<Subtree> = (0..1 << KNOWN_DEPTH).map(|part| self.part(part)).collect();
        while parts.len() > 1 {
            parts = parts.chunks(2).map(|two| Subtree::join(two[0], two[1])).collect();
        }
        parts[0].hash()
    }

    fn part(&mut self, part: u16) -> Subtree {
        if let Some(known) = self.known.get(&part) {
            return *known;
        }
        let leaves: Vec<Leaf> = self.leaves.range(keys_of(part)).map(|(_, leaf)| *leaf).collect();
        let root = Subtree::of(&leaves, KNOWN_DEPTH);
        self.known.insert(part, root);
        root
    }

    /// The proof of an organization's count, also of none.
    #[must_use]
    pub fn prove(&self, tenant: Uuid) -> CountProof {
        let key = key_of(tenant);
        let all: Vec<Leaf> = self.leaves.values().copied().collect();
        let (mut rest, mut path) = (all.as_slice(), Vec::new());
        while rest.len() > 1 {
            let depth = path.len();
            let (zero, one) = rest.split_at(halves(rest, depth));
            let (ours, beside) = if bit(&key, depth) { (one, zero) } else { (zero, one) };
            path.push(Subtree::of(beside, depth + 1).hash());
            rest = ours;
        }
        path.reverse();
        let stands = rest.first().map(|leaf| (leaf.tenant, leaf.count));
        match stands {
            Some((found, count)) if found == tenant => CountProof { count, path, instead: None },
            instead => CountProof { count: 0, path, instead },
        }
    }
}

/// That an organization has a count, under a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountProof {
    /// How many events; zero for an organization that has none.
    pub count: i64,
    /// The hashes beside the path, from the organization up to the root.
    pub path: Vec<Hash>,
    /// Where the organization has none: who stands in its place, if anybody does.
    pub instead: Option<(Uuid, i64)>,
}

impl CountProof {
    /// Whether the count is what the root says.
    #[must_use]
    pub fn verify(&self, tenant: Uuid, root: &Hash) -> bool {
        let key = key_of(tenant);
        // Two keys are equal in every bit only if the ids are.
        let depth = self.path.len();
        let start = match (self.count, self.instead) {
            (1.., None) => leaf_of(tenant, self.count),
            (0, None) => NOBODY,
            (0, Some((other, count))) => {
                let theirs = key_of(other);
                let is_beside =
                    depth < 256 && (0..depth).all(|at| bit(&key, at) == bit(&theirs, at));
                if other == tenant || count < 1 || !is_beside {
                    return false;
                }
                leaf_of(other, count)
            }
            _ => return false,
        };
        if depth > 256 {
            return false;
        }
        let upwards = (0..depth).rev();
        let found = self.path.iter().zip(upwards).fold(start, |hash, (beside, depth)| {
            if bit(&key, depth) { node_of(beside, &hash) } else { node_of(&hash, beside) }
        });
        found == *root
    }
}

fn key_of(tenant: Uuid) -> Hash {
    Sha256::digest(tenant.as_bytes()).into()
}

fn leaf_of(tenant: Uuid, count: i64) -> Hash {
    Sha256::new()
        .chain_update([0x04])
        .chain_update(tenant.as_bytes())
        .chain_update(count.to_be_bytes())
        .finalize()
        .into()
}

fn node_of(zero: &Hash, one: &Hash) -> Hash {
    Sha256::new().chain_update([0x05]).chain_update(zero).chain_update(one).finalize().into()
}

fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The first twelve bits of a key.
fn prefix(key: &Hash) -> u16 {
    u16::from_be_bytes([key[0], key[1]]) >> 4
}

/// The keys that begin with twelve bits.
fn keys_of(part: u16) -> std::ops::RangeInclusive<Hash> {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    first[..2].copy_from_slice(&(part << 4).to_be_bytes());
    last[..2].copy_from_slice(&(part << 4 | 0x0f).to_be_bytes());
    first..=last
}

#[cfg(test)]
mod tests {
    use super::{Leaf, NOBODY, Organizations, Subtree};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn tenant(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn an_empty_map_proves_that_an_organization_has_nothing() {
        let mut map = Organizations::default();
        assert_eq!(map.root(), NOBODY);
        assert!(map.prove(tenant(7)).verify(tenant(7), &NOBODY));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_count_is_proved_and_no_other_is(
            counts in prop::collection::vec(0_i64..5, 1..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_i64..9), 0..60),
            other in 1_i64..9,
        ) {
            let mut map = Organizations::default();
            for (number, count) in counts.iter().enumerate() {
                map.set(tenant(number as u128), *count);
            }
            for (at, count) in changes {
                map.root();
                map.set(tenant(at.index(counts.len()) as u128), count);
            }
            // What is remembered is what hashing everything gives.
            let leaves: Vec<Leaf> = map.leaves.values().copied().collect();
            let root = map.root();
            prop_assert_eq!(root, Subtree::of(&leaves, 0).hash());
            for number in 0..=counts.len() as u128 {
                let proof = map.prove(tenant(number));
                prop_assert_eq!(proof.count, map.count(tenant(number)));
                prop_assert!(proof.verify(tenant(number), &root));
                if proof.count > 0 {
                    prop_assert!(!proof.verify(tenant(number + 1_000), &root));
                }
                let mut wrong = proof.clone();
                wrong.count += other;
                prop_assert!(!wrong.verify(tenant(number), &root));
                if let Some(step) = wrong.path.first_mut() {
                    step[0] ^= 1;
                    wrong.count = proof.count;
                    prop_assert!(!wrong.verify(tenant(number), &root));
                }
            }
        }
    }
}
