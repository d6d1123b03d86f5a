//! Evidence bundles: a part of the log as one file, with all that is needed to prove it to somebody
//! who has neither the database nor a network.
//!
//! A bundle is a magic line and frames, read once from the beginning to the end:
//!
//! * [`Manifest`]: what it claims to be;
//! * events with the hashes between them, so that one pass works out the root of the whole tree;
//! * signed checkpoints in their places, the last of which is what everything is proved against;
//! * behind them, recorded purges that account for bodies which are gone;
//! * for one organization, the proof of how many events it has;
//! * an end with the number of frames and a hash of everything, so that a cut is seen.
//!
//! What each frame holds stands in `docs/log-format.md`. [`Writer`] writes them; [`verify`] reads
//! them with distrust, in the memory of a few chunks, and names the first position that is wrong.
//! Nothing here knows the business: whoever wants to fold the events again listens as a [`Fold`].

mod chunks;
mod content;
mod gaps;
mod places;
mod record;
mod verifier;
mod writer;

pub use content::{Manifest, Scope};
pub use gaps::Gaps;
pub(crate) use record::archived_body;
pub use record::{Bodies, HeaderFields};
pub use verifier::{Fold, Outcome, Seen, Summary, verify};
pub use writer::Writer;

/// The first bytes of a bundle: what it is and in which form.
pub const MAGIC: &[u8; 8] = b"OPSBNDL1";

/// The first byte of an event's frame.
pub(crate) const EVENT_FRAME: u8 = Kind::Event.byte();

/// The most bytes one frame may have: far more than any event.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// What a frame is, as its first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the bundle claims to be. The first frame.
    Manifest,
    /// Figures to be worked out again. The second frame, if there is one.
    Replay,
    /// A batch of the log, before its events.
    Batch,
    /// An event.
    Event,
    /// An event of the organization just before or after the bundle, without bodies.
    Neighbour,
    /// A recorded purge behind the bundle's events: it accounts for bodies that are gone.
    Purge,
    /// The hashes of the leaves up to the next frame.
    Gap,
    /// A signed checkpoint of the leaves so far.
    Checkpoint,
    /// How many events the organization has, proved.
    Count,
    /// The end.
    End,
}

impl Kind {
    /// The byte that a frame begins with.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Manifest => b'M',
            Self::Replay => b'R',
            Self::Batch => b'B',
            Self::Event => b'E',
            Self::Neighbour => b'N',
            Self::Purge => b'P',
            Self::Gap => b'G',
            Self::Checkpoint => b'C',
            Self::Count => b'T',
            Self::End => b'Z',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'M' => Self::Manifest,
            b'R' => Self::Replay,
            b'B' => Self::Batch,
            b'E' => Self::Event,
            b'N' => Self::Neighbour,
            b'P' => Self::Purge,
            b'G' => Self::Gap,
            b'C' => Self::Checkpoint,
            b'T' => Self::Count,
            b'Z' => Self::End,
            _ => return None,
        })
    }
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What is there is not what was recorded.
    Content,
    /// The checkpoint is not signed as the policy asks.
    Signature,
    /// Something is missing, or in the wrong place.
    Incomplete,
}

/// The first thing found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Fault {
    /// What kind of thing it is.
    pub class: Class,
    /// The first position that may be wrong: everything before it is what was recorded, as far as
    /// the bundle goes.
    pub position: i64,
    /// What is wrong, in words.
    pub problem: String,
}

impl Fault {
    pub(crate) fn content(position: i64, problem: impl Into<String>) -> Self {
        Self { class: Class::Content, position, problem: problem.into() }
    }

    pub(crate) fn signature(position: i64, problem: impl Into<String>) -> Self {
        Self { class: Class::Signature, position, problem: problem.into() }
    }

    fn incomplete(position: i64, problem: impl Into<String>) -> Self {
        Self { class: Class::Incomplete, position, problem: problem.into() }
    }
}
