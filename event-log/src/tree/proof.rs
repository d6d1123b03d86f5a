//! Checking proofs: what a verifier does that holds roots and proofs, and nothing else.
//!
//! The algorithms are those of RFC 9162 (sections 2.1.3.2 and 2.1.4.2), which verify the proofs of
//! RFC 6962. Nothing here trusts anything it is given: a proof that is too long, too short or of
//! impossible sizes is refused like one with a wrong hash.

use super::hash::node_hash;
use crate::evidence::Hash;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf, or the older tree is larger than the newer.
    #[error("the proof is about sizes that cannot be: {smaller} of {larger}")]
    Sizes {
        /// The leaf, or the older size.
        smaller: u64,
        /// The size of the (newer) tree.
        larger: u64,
    },
    /// It has more or fewer hashes than a proof of these sizes has.
    #[error("the proof has {found} hashes, which no proof of these sizes has")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// It leads to another root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Checks that a leaf is the one with this number in the tree of this size and root.
pub fn verify_inclusion(
    leaf: u64,
    size: u64,
    leaf_hash: &Hash,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if leaf >= size {
        return Err(ProofError::Sizes { smaller: leaf, larger: size });
    }
    let (mut node, mut last) = (leaf, size - 1);
    let mut hash = *leaf_hash;
    for step in proof {
        if last == 0 {
            return Err(ProofError::Length { found: proof.len() });
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length { found: proof.len() }),
    }
}

/// Checks that the tree of `new_size` begins with the tree of `old_size`: nothing was changed,
/// taken out or put in before. An empty tree is the beginning of every other and proves nothing.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Sizes { smaller: old_size, larger: new_size });
    }
    if old_size == new_size || old_size == 0 {
        if !proof.is_empty() {
            return Err(ProofError::Length { found: proof.len() });
        }
        let is_same = old_size == 0 && *old_root == super::hash::empty_root()
            || old_size != 0 && old_root == new_root;
        return if is_same { Ok(()) } else { Err(ProofError::Root) };
    }
    // A tree of 2^k leaves is itself the first step.
    let whole = old_size.is_power_of_two().then_some(old_root);
    let mut steps = whole.into_iter().chain(proof);
    let length = ProofError::Length { found: proof.len() };
    let shift = (old_size - 1).trailing_ones();
    let (mut node, mut last) = ((old_size - 1) >> shift, (new_size - 1) >> shift);
    let first = steps.next().ok_or(length)?;
    let (mut old, mut new) = (*first, *first);
    for step in steps {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(step, &old);
            new = node_hash(step, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, step);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, old == *old_root && new == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(length),
    }
}
