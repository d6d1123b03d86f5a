//! Checkpoints: the root of a log's tree at a size, as the text of a signed note (C2SP
//! `tlog-checkpoint`).
//!
//! Ours have two extension lines, always in this order: `tenants`, the root of the map from
//! organizations to their counts, and `chain`, the chain of the batch the checkpoint ends with.

use super::{NoteError, from_base64};
use crate::evidence::Hash;
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

const TENANTS: &str = "tenants ";
const CHAIN: &str = "chain ";

/// What a log says of itself at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint of its parts.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`] where a line is empty or has control characters.
    pub fn new(
        origin: &str,
        size: u64,
        root: Hash,
        extensions: Vec<String>,
    ) -> Result<Self, NoteError> {
        let mut lines = std::iter::once(origin).chain(extensions.iter().map(String::as_str));
        if lines.any(|line| line.is_empty() || line.bytes().any(|byte| byte < 0x20)) {
            return Err(NoteError::Checkpoint("a line is empty or has control characters"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// A checkpoint of ours, with both extension lines.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_log(
        origin: &str,
        size: u64,
        root: Hash,
        tenants: &Hash,
        chain: &Hash,
    ) -> Result<Self, NoteError> {
        let extensions = [(TENANTS, tenants), (CHAIN, chain)];
        let extensions = extensions.map(|(name, hash)| format!("{name}{}", BASE64.encode(hash)));
        Self::new(origin, size, root, extensions.to_vec())
    }

    /// Which log this is about, unique for ever.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The extension lines, without their newlines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The root of the map from organizations to their counts, where it stands in its place: the
    /// first extension line.
    #[must_use]
    pub fn tenants(&self) -> Option<Hash> {
        hash(self.extensions.first()?.strip_prefix(TENANTS)?)
    }

    /// The chain of the batch this ends with, where it stands in its place: the second extension
    /// line.
    #[must_use]
    pub fn chain(&self) -> Option<Hash> {
        hash(self.extensions.get(1)?.strip_prefix(CHAIN)?)
    }
}

/// Strictly: what is read is written again byte for byte.
impl FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let fault = NoteError::Checkpoint;
        let body = text.strip_suffix('\n').ok_or(fault("the last line has no end"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().unwrap_or_default();
        let size = lines.next().and_then(decimal).ok_or(fault("the second line is no size"))?;
        let root = lines.next().and_then(hash).ok_or(fault("the third line is no root"))?;
        Self::new(origin, size, root, lines.map(str::to_owned).collect())
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(&self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

/// Digits alone, without a zero in front, as the number would be written.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn hash(text: &str) -> Option<Hash> {
    from_base64(text)?.try_into().ok()
}
