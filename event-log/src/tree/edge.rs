//! The right edge of the tree: all that is needed to let it grow.
//!
//! Hashes are kept in tiles of 256 side by side (C2SP tlog-tiles): a tile of level 0 holds leaves,
//! one of level 1 the roots of 256 tiles of level 0, and so on. A full tile never changes again and
//! is handed out once; what is not full yet is the edge, at most 255 hashes a level.

use super::hash::{Node, empty_root, node_hash, root_of};
use crate::evidence::Hash;

/// How many hashes a full tile has.
pub const TILE_WIDTH: usize = 256;

/// A full tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// 0 for leaves, 1 for roots of 256 leaves, …
    pub level: u8,
    /// Which of its level, from zero.
    pub index: u64,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The hashes of every level that fill no tile yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of a level that fill no tile yet.
    #[must_use]
    pub fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf; answers the tiles that it filled, lowest level first.
    pub fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut filled = Vec::new();
        let mut hash = leaf;
        self.size += 1;
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            self.levels[place].push(hash);
            if self.levels[place].len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[place]);
            hash = root_of(&hashes);
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            filled.push(Tile { level, index, hashes });
        }
        filled
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        // From the right: the leaves first, the largest subtrees last.
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let left = root_of(&hashes[end - width..end]);
                root = Some(root.map_or(left, |right| node_hash(&left, &right)));
                end -= width;
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// As it is stored: for each level the count in one byte, then the hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for hashes in &self.levels {
            // A full tile leaves the edge, so that the count is below 256.
            bytes.push(u8::try_from(hashes.len()).unwrap_or_default());
            hashes.iter().for_each(|hash| bytes.extend_from_slice(hash));
        }
        bytes
    }

    /// Reads the edge of a tree of this size; none when the bytes are not one.
    #[must_use]
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (mut levels, mut rest) = (Vec::new(), bytes);
        while let Some((count, after)) = rest.split_first() {
            let place = u32::try_from(levels.len()).ok()?;
            let due = size.checked_shr(8 * place).unwrap_or_default() & 255;
            if u64::from(*count) != due || after.len() < usize::from(*count) * 32 {
                return None;
            }
            let (hashes, behind) = after.split_at(usize::from(*count) * 32);
            levels.push(hashes.as_chunks::<32>().0.to_vec());
            rest = behind;
        }
        let above = 8 * u32::try_from(levels.len()).ok()?;
        (size.checked_shr(above).unwrap_or_default() == 0).then_some(Self { size, levels })
    }
}

/// Where the hashes below a node stand: in which tile, and which of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InTile {
    /// The level of the tile.
    pub level: u8,
    /// Which tile of that level.
    pub index: u64,
    /// The first of its hashes.
    pub start: usize,
    /// How many: their root is the hash of the node.
    pub count: usize,
}

impl Node {
    /// Where its hash is worked out from.
    #[must_use]
    pub fn in_tile(self) -> InTile {
        let inside = self.level % 8;
        let first = self.index << inside;
        InTile {
            // A tree has fewer than 2^64 leaves, so there are eight levels of tiles.
            level: u8::try_from(self.level / 8).unwrap_or(u8::MAX),
            index: first >> 8,
            start: usize::try_from(first & 255).unwrap_or_default(),
            count: 1 << inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::{
        Span, consistency_spans, empty_root, inclusion_spans, leaf_hash, root_of,
    };
    use super::super::proof::{verify_consistency, verify_inclusion};
    use super::{Edge, Tile};
    use crate::evidence::Hash;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use sha2::Sha256;
    use std::collections::HashMap;

    /// A tree as it is kept: full tiles and the edge.
    #[derive(Default)]
    struct Kept {
        edge: Edge,
        tiles: HashMap<(u8, u64), Vec<Hash>>,
        leaves: Vec<Hash>,
    }

    impl Kept {
        fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
            let mut kept = Self::default();
            for entry in entries {
                let leaf = leaf_hash(&entry);
                kept.leaves.push(leaf);
                for Tile { level, index, hashes } in kept.edge.push(leaf) {
                    assert!(kept.tiles.insert((level, index), hashes).is_none());
                }
            }
            kept
        }

        fn hash(&self, span: Span) -> Hash {
            let nodes: Vec<Hash> = span
                .nodes()
                .into_iter()
                .map(|node| {
                    let at = node.in_tile();
                    let tile = self.tiles.get(&(at.level, at.index));
                    let hashes = tile.map_or(self.edge.level(at.level), Vec::as_slice);
                    root_of(&hashes[at.start..at.start + at.count])
                })
                .collect();
            Span::root(&nodes)
        }

        fn hashes(&self, spans: Vec<Span>) -> Vec<Hash> {
            spans.into_iter().map(|span| self.hash(span)).collect()
        }
    }

    fn entries(count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|number| format!("entry {number}").into_bytes())
    }

    #[test]
    fn the_roots_are_those_of_the_published_vectors() {
        // The eight inputs and the roots of trees of 1 to 8 of them, as Certificate Transparency's
        // implementations publish them (google/certificate-transparency, merkle_tree_test).
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Edge::default();
        assert_eq!(
            HEXLOWER.encode(&edge.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (input, root) in inputs.into_iter().zip(roots) {
            edge.push(leaf_hash(&HEXLOWER.decode(input.as_bytes()).unwrap()));
            assert_eq!(HEXLOWER.encode(&edge.root()), root);
        }
    }

    #[test]
    fn roots_from_the_edge_are_those_of_another_implementation_for_sizes_0_to_1_100() {
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut ours = Edge::default();
        assert_eq!(ours.root(), empty_root());
        for entry in entries(1_100) {
            ours.push(leaf_hash(&entry));
            theirs.push(entry);
            assert_eq!(ours.root()[..], theirs.root().as_bytes()[..], "size {}", ours.size());
            let stored = Edge::from_bytes(ours.size(), &ours.to_bytes());
            assert_eq!(stored.as_ref(), Some(&ours));
            assert_eq!(Edge::from_bytes(ours.size() + 1, &ours.to_bytes()), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn proofs_are_accepted_by_both_and_refused_once_a_bit_is_flipped(
            // Beyond 65,536 leaves there is a third level of tiles.
            size in prop_oneof![40 => 1_usize..3_000, 1 => 65_000_usize..67_000],
            picks in any::<[prop::sample::Index; 3]>(),
            bit in 0_usize..256,
        ) {
            let (leaf, old) = (picks[0].index(size), picks[1].index(size) + 1);
            let kept = Kept::of(entries(size));
            let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            entries(size).for_each(|entry| theirs.push(entry));
            let their_root = theirs.root();
            prop_assert_eq!(&kept.edge.root()[..], their_root.as_bytes().as_slice());

            let (n, l, o) = (size as u64, leaf as u64, old as u64);
            let root = kept.edge.root();
            let mut proof = kept.hashes(inclusion_spans(l, n));
            let their_proof = theirs.prove_inclusion(leaf);
            prop_assert_eq!(proof.concat(), their_proof.as_bytes());
            let hash = kept.leaves[leaf];
            prop_assert_eq!(verify_inclusion(l, n, &hash, &root, &proof), Ok(()));
            if leaf + 1 < size {
                prop_assert!(verify_inclusion(l + 1, n, &hash, &root, &proof).is_err());
            }
            if let Some(at) = (!proof.is_empty()).then(|| picks[2].index(proof.len())) {
                proof[at][bit / 8] ^= 1 << (bit % 8);
                prop_assert!(verify_inclusion(l, n, &hash, &root, &proof).is_err());
                proof.pop();
                prop_assert!(verify_inclusion(l, n, &hash, &root, &proof).is_err());
            }

            let old_root = Kept::of(entries(old)).edge.root();
            let mut proof = kept.hashes(consistency_spans(o, n));
            prop_assert_eq!(verify_consistency(o, n, &old_root, &root, &proof), Ok(()));
            if old < size {
                let their_proof = theirs.prove_consistency(size - old);
                prop_assert_eq!(proof.concat(), their_proof.as_bytes());
                let at = picks[2].index(proof.len());
                proof[at][bit / 8] ^= 1 << (bit % 8);
                prop_assert!(verify_consistency(o, n, &old_root, &root, &proof).is_err());
                proof.pop();
                prop_assert!(verify_consistency(o, n, &old_root, &root, &proof).is_err());
            }
        }
    }
}
