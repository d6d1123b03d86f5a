//! The root of leaves that come one after the other, without keeping them.
//!
//! What is kept are the roots of the complete subtrees so far, at most one of each size. A whole
//! subtree may be given by its root instead of its leaves, where the place is one at which subtrees
//! of its size begin. So whoever knows some leaves and the roots between them works out the same
//! root as whoever knows all leaves.

use super::hash::{Node, Span, node_hash};
use crate::evidence::Hash;

/// The leaves so far, as the roots of complete subtrees from the largest to the smallest.
#[derive(Clone, Debug, Default)]
pub struct Range {
    size: u64,
    subtrees: Vec<(u32, Hash)>,
}

impl Range {
    /// How many leaves there are so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.join(0, leaf);
    }

    /// Adds the leaves up to `end` by the roots of the subtrees they consist of, in the order of
    /// [`Span::nodes`]. False, with nothing added, when there is not just one hash for each.
    #[must_use]
    pub fn skip(&mut self, end: u64, hashes: &[Hash]) -> bool {
        let nodes: Vec<Node> = Span { start: self.size, end }.nodes();
        if nodes.is_empty() || nodes.len() != hashes.len() {
            return false;
        }
        for (node, hash) in nodes.into_iter().zip(hashes) {
            self.join(node.level, *hash);
        }
        true
    }

    /// The root of the leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let hashes: Vec<Hash> = self.subtrees.iter().map(|(_, hash)| *hash).collect();
        Span::root(&hashes)
    }

    fn join(&mut self, level: u32, hash: Hash) {
        self.size += 1 << level;
        let (mut level, mut hash) = (level, hash);
        while let Some((_, left)) = self.subtrees.pop_if(|(beside, _)| *beside == level) {
            hash = node_hash(&left, &hash);
            level += 1;
        }
        self.subtrees.push((level, hash));
    }
}

#[cfg(test)]
mod tests {
    use super::Range;
    use crate::tree::hash::{Span, leaf_hash, root_of};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leaves_and_the_roots_between_them_give_the_root_of_all_leaves(
            size in 1_usize..600,
            cuts in prop::collection::vec((0_usize..600, any::<bool>()), 0..12),
        ) {
            let leaves: Vec<_> = (0..size).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect();
            let mut ends: Vec<(usize, bool)> =
                cuts.into_iter().filter(|(at, _)| *at < size).collect();
            ends.push((size, true));
            ends.sort_unstable();
            let (mut range, mut start) = (Range::default(), 0);
            for (end, is_skipped) in ends {
                if is_skipped && end > start {
                    let nodes = Span { start: start as u64, end: end as u64 }.nodes();
                    let hash = |level: u32, index: u64| {
                        let first = usize::try_from(index << level).unwrap();
                        root_of(&leaves[first..first + (1 << level)])
                    };
                    let mut hashes: Vec<_> =
                        nodes.iter().map(|node| hash(node.level, node.index)).collect();
                    prop_assert!(!range.skip(end as u64, &hashes[1..]));
                    prop_assert!(range.skip(end as u64, &hashes));
                    hashes.push([0; 32]);
                    prop_assert!(!range.skip(end as u64, &hashes));
                } else {
                    leaves[start..end].iter().for_each(|leaf| range.push(*leaf));
                }
                start = end;
                prop_assert_eq!(range.size(), end as u64);
                prop_assert_eq!(range.root(), root_of(&leaves[..end]));
            }
        }
    }
}
