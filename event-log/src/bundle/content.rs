//! What stands in the smaller frames: manifest, batch, gap, count, end.

use super::{Kind, MAGIC};
use crate::evidence::Hash;
use crate::tree::organizations::CountProof;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use uuid::Uuid;

/// The form of the manifest that this program writes and reads.
const FORM: u32 = 1;

/// Far more than a manifest has.
const MANIFEST_BYTES_MAX: usize = 1 << 16;

/// Whose events are in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of them.
    All,
    /// Those of one organization.
    Organization(Uuid),
}

/// What a bundle claims to be. Nothing signs this; every claim but the time is checked against what
/// is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of the manifest.
    pub form: u32,
    /// The origin of the last checkpoint.
    pub origin: String,
    /// Which log.
    pub log: Uuid,
    /// Whose events.
    pub scope: Scope,
    /// From this position on.
    pub from: i64,
    /// Up to and with this one.
    pub to: i64,
    /// The size of the last checkpoint.
    pub size: u64,
    /// Whether bodies are in.
    pub bodies: bool,
    /// Whether there is a frame of figures.
    pub replay: bool,
    /// When it was made, by the clock of whoever made it (RFC 3339). Proved by nothing.
    pub created_at: String,
}

impl Manifest {
    /// The form that is written.
    pub const FORM: u32 = FORM;

    /// What the bundle that begins here claims to be; nothing of it is checked.
    ///
    /// # Errors
    /// When it cannot be read, or is no bundle.
    pub fn read(input: &mut impl Read) -> io::Result<Self> {
        let no_bundle = || io::Error::new(io::ErrorKind::InvalidData, "it is no bundle");
        let mut head = [0; MAGIC.len() + 5];
        input.read_exact(&mut head)?;
        let (magic, frame) = head.split_at(MAGIC.len());
        let [kind, length @ ..] = frame else { return Err(no_bundle()) };
        let length = <[u8; 4]>::try_from(length).map_err(|_| no_bundle())?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let is_manifest = magic == MAGIC && *kind == Kind::Manifest.byte();
        if !is_manifest || length > MANIFEST_BYTES_MAX {
            return Err(no_bundle());
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|_| no_bundle())
    }

    /// What is wrong with it, as far as that can be said without the rest.
    pub(super) fn fault(&self) -> Option<String> {
        let size = i64::try_from(self.size).unwrap_or(0);
        if self.form != FORM {
            return Some(format!("form {} is not known to this program; use a newer", self.form));
        }
        if self.from < 1 || self.to < self.from || self.to > size {
            let Self { from, to, size, .. } = self;
            return Some(format!("it claims positions {from} to {to} of {size}, as none can be"));
        }
        let is_origin = self.origin.starts_with(&format!("opscenter/log/{}/epoch/", self.log));
        (!is_origin).then(|| format!("{} is no origin of log {}", self.origin, self.log))
    }

    /// Whether leaves before or behind the events stand in one gap: a bundle of everything has no
    /// other.
    pub(super) fn may_skip(&self, start: u64, end: u64) -> bool {
        let (from, to) = (self.from.unsigned_abs(), self.to.unsigned_abs());
        self.scope != Scope::All || end < from || start >= to
    }
}

/// A batch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first: i64,
    pub(super) count: i32,
    pub(super) recorded_at_micros: i64,
    /// The chain before it.
    pub(super) previous: Hash,
    /// The chain after it.
    pub(super) chain: Hash,
}

impl Batch {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.first.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.recorded_at_micros.to_be_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(&self.chain);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (recorded_at, rest) = rest.split_first_chunk()?;
        let (previous, chain) = rest.split_first_chunk()?;
        Some(Self {
            first: i64::from_be_bytes(*first),
            count: i32::from_be_bytes(*count),
            recorded_at_micros: i64::from_be_bytes(*recorded_at),
            previous: *previous,
            chain: chain.try_into().ok()?,
        })
    }

    /// Its last position.
    pub(super) fn last(&self) -> i64 {
        self.first.saturating_add(i64::from(self.count) - 1)
    }
}

/// A gap: where it ends, and the roots of the subtrees up to there.
pub(super) fn gap(end: u64, hashes: &[Hash]) -> Vec<u8> {
    [end.to_be_bytes().as_slice(), hashes.as_flattened()].concat()
}

pub(super) fn gap_from(bytes: &[u8]) -> Option<(u64, &[Hash])> {
    let (end, hashes) = bytes.split_first_chunk()?;
    let (hashes, rest) = hashes.as_chunks::<32>();
    rest.is_empty().then_some((u64::from_be_bytes(*end), hashes))
}

/// How many events an organization has, and the path up to the root.
pub(super) fn count(proof: &CountProof) -> Vec<u8> {
    [proof.count.to_be_bytes().as_slice(), proof.path.as_flattened()].concat()
}

pub(super) fn count_from(bytes: &[u8]) -> Option<CountProof> {
    let (count, path) = bytes.split_first_chunk()?;
    let (path, rest) = path.as_chunks::<32>();
    let count = i64::from_be_bytes(*count);
    rest.is_empty().then(|| CountProof { count, path: path.to_vec(), instead: None })
}

/// The end: how many frames there are with this one, and the hash of every byte before it.
pub(super) fn end(frames: u64, digest: &Hash) -> Vec<u8> {
    [frames.to_be_bytes().as_slice(), digest].concat()
}

pub(super) fn end_from(bytes: &[u8]) -> Option<(u64, Hash)> {
    let (frames, digest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*frames), digest.try_into().ok()?))
}
