//! Reading a bundle in chunks of whole frames, and everything about a frame that needs no other:
//! the hashes of an event and its bodies, and the hash of the whole file.

use super::content::end_from;
use super::record::{self, Checked};
use super::{FRAME_BYTES_MAX, Kind, MAGIC};
use crate::evidence::Hash;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::ops::Range;

/// How much is read at a time; more where one frame is longer.
const CHUNK_BYTES: usize = 1 << 20;

/// The byte of the kind, and the length.
const HEAD_BYTES: usize = 5;

/// Some frames, and the bytes that they stand in.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) items: Vec<Item>,
}

/// One frame as far as it can be judged alone.
pub(super) enum Item {
    Event(Result<Checked, &'static str>),
    Neighbour(Result<Checked, &'static str>),
    Purge(Result<Checked, &'static str>),
    Other(Kind, Range<usize>),
    /// The end, and what is wrong with what it says.
    End(Result<(), EndFault>),
    /// It cannot be read on from here.
    Broken(&'static str),
}

/// How the end contradicts what was read.
#[derive(Clone, Copy)]
pub(super) enum EndFault {
    /// There were more or fewer frames.
    Frames,
    /// There were other bytes.
    Bytes,
}

pub(super) struct Chunks<R> {
    input: R,
    held: Vec<u8>,
    hash: Sha256,
    frames: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Magic,
    Frames,
    End,
    /// Nothing more is read.
    Over,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, held: Vec::new(), hash: Sha256::new(), frames: 0, place: Place::Magic }
    }

    /// The next frames; none behind the last item.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        while self.place != Place::Over {
            let wanted = CHUNK_BYTES.max(frame_bytes(&self.held).unwrap_or(0));
            let more = wanted.saturating_sub(self.held.len());
            let mut bytes = std::mem::take(&mut self.held);
            let limit = u64::try_from(more).unwrap_or(u64::MAX);
            let is_last = self.input.by_ref().take(limit).read_to_end(&mut bytes)? < more;
            let (items, used) = self.split(&bytes, is_last);
            self.held.extend_from_slice(&bytes[used..]);
            if !items.is_empty() {
                return Ok(Some(Chunk { bytes, items }));
            }
        }
        Ok(None)
    }

    /// The whole frames of some bytes, and how many bytes they take.
    fn split(&mut self, bytes: &[u8], is_last: bool) -> (Vec<Item>, usize) {
        let (mut items, mut at) = (Vec::new(), 0);
        if self.place == Place::Magic {
            if !bytes.starts_with(MAGIC) {
                self.place = Place::Over;
                return (vec![Item::Broken("this is no bundle, for it does not begin as one")], 0);
            }
            at = MAGIC.len();
            self.place = Place::Frames;
        }
        let mut hashed = 0;
        while self.place == Place::Frames {
            let Some(length) = frame_bytes(&bytes[at..]) else { break };
            let kind = Kind::from_byte(bytes[at]);
            let Some(kind) = kind.filter(|_| length <= HEAD_BYTES + FRAME_BYTES_MAX) else {
                self.place = Place::Over;
                items.push(Item::Broken("what begins here is no frame of a bundle"));
                return (items, bytes.len());
            };
            if bytes.len() - at < length {
                break;
            }
            self.frames += 1;
            if kind == Kind::End {
                self.hash.update(&bytes[hashed..at]);
                hashed = at;
                self.place = Place::End;
            }
            items.push(self.item(kind, bytes, at + HEAD_BYTES..at + length));
            at += length;
        }
        self.hash.update(&bytes[hashed..at]);
        if at < bytes.len() && self.place == Place::End {
            self.place = Place::Over;
            items.push(Item::Broken("something follows the end of the bundle"));
        } else if is_last {
            if self.place == Place::Frames {
                items.push(Item::Broken("the bundle was cut off, for it has no end"));
            }
            self.place = Place::Over;
        }
        (items, at)
    }

    fn item(&mut self, kind: Kind, bytes: &[u8], within: Range<usize>) -> Item {
        match kind {
            Kind::Event => Item::Event(record::check(bytes, within)),
            Kind::Neighbour => Item::Neighbour(record::check(bytes, within)),
            Kind::Purge => Item::Purge(record::check(bytes, within)),
            Kind::End => Item::End(self.end(&bytes[within])),
            Kind::Manifest
            | Kind::Replay
            | Kind::Batch
            | Kind::Gap
            | Kind::Checkpoint
            | Kind::Count => Item::Other(kind, within),
        }
    }

    fn end(&self, bytes: &[u8]) -> Result<(), EndFault> {
        let (frames, digest) = end_from(bytes).ok_or(EndFault::Frames)?;
        let found: Hash = self.hash.clone().finalize().into();
        match (frames == self.frames, digest == found) {
            (true, true) => Ok(()),
            (false, _) => Err(EndFault::Frames),
            (true, false) => Err(EndFault::Bytes),
        }
    }
}

/// How long the frame is that begins here, with its head.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let (_, rest) = bytes.split_first()?;
    let (length, _) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    Some(length.saturating_add(HEAD_BYTES))
}
