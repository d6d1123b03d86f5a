//! Hashing of the Merkle tree, as RFC 6962 (section 2.1) defines it, and the spans of leaves that
//! everything else is made of.
//!
//! A leaf and an inner node are hashed with different first bytes, so that neither can be passed
//! off as the other. Leaves are numbered from zero: the leaf of an event is its position − 1.

use crate::evidence::Hash;
use sha2::{Digest, Sha256};

/// The hash of a leaf: `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into()
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves: the hash of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root over hashes that stand side by side on one level.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [only] => *only,
        many => {
            // The largest power of two that is smaller than the count goes to the left.
            let (left, right) = many.split_at(1 << (many.len() - 1).ilog2());
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Neighbouring leaves whose common root is one step of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first leaf.
    pub start: u64,
    /// The leaf after the last.
    pub end: u64,
}

/// A complete subtree of 2^`level` leaves: the `index`th of its level, from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// How far above the leaves; zero for a leaf.
    pub level: u32,
    /// Which of its level.
    pub index: u64,
}

impl Span {
    /// The complete subtrees that it consists of, from left to right. The first leaf of a span is
    /// always one at which subtrees of its size begin.
    #[must_use]
    pub fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut start = self.start;
        while start < self.end {
            let fits = (self.end - start).ilog2();
            let level = if start == 0 { fits } else { fits.min(start.trailing_zeros()) };
            nodes.push(Node { level, index: start >> level });
            start += 1 << level;
        }
        nodes
    }

    /// The root over the hashes of its [`nodes`](Self::nodes): each stands to the left of
    /// everything after it.
    #[must_use]
    pub fn root(nodes: &[Hash]) -> Hash {
        let mut from_right = nodes.iter().rev();
        let Some(last) = from_right.next() else { return empty_root() };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The steps of the proof that a leaf is in a tree of a size, from the leaf to the root
/// (RFC 6962, section 2.1.1).
#[must_use]
pub fn inclusion_spans(leaf: u64, size: u64) -> Vec<Span> {
    let (mut start, mut end) = (0, size);
    let mut spans = Vec::new();
    while end - start > 1 {
        let middle = start + (1 << (end - start - 1).ilog2());
        if leaf < middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
        }
    }
    spans.reverse();
    spans
}

/// The steps of the proof that a tree of the size `new` begins with the tree of the size `old`
/// (RFC 6962, section 2.1.2). None are needed where either is empty or both are the same.
#[must_use]
pub fn consistency_spans(old: u64, new: u64) -> Vec<Span> {
    if old == 0 || old >= new {
        return Vec::new();
    }
    let (mut start, mut end) = (0, new);
    let mut is_whole = true;
    let mut spans = Vec::new();
    while old < end {
        let middle = start + (1 << (end - start - 1).ilog2());
        if old <= middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        spans.push(Span { start, end });
    }
    spans.reverse();
    spans
}
