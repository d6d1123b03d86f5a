//! The frame of an event: its entry, the bytes that its hash covers, and its bodies.
//!
//! ```text
//! entry (84 bytes) ‖ length int4 ‖ hashed bytes ‖ body(payload salt) ‖ body(payload)
//!                  ‖ body(meta salt) ‖ body(meta)
//! body(x) = length int4 ‖ x, or ff ff ff ff where the bundle does not have it
//! ```
//!
//! A payload is there with its salt, or neither is. Salts have sixteen bytes: otherwise a byte
//! could move between the salt and what follows it, and the commitment would be the same.

use crate::archive::ArchivedBody;
use crate::evidence::{EVENT_MAGIC, Hash, meta_commit, payload_commit};
use crate::tree::entry::{ENTRY_BYTES, Entry};
use sha2::{Digest, Sha256};
use std::ops::Range;
use uuid::Uuid;

/// Stands for "not there" where a length is expected.
const ABSENT: u32 = u32::MAX;

const SALT_BYTES: usize = 16;

/// Payload and meta with their salts, as they are written.
#[derive(Clone, Copy, Debug)]
pub struct Bodies<'a> {
    /// The salt of the payload, and it.
    pub payload: (&'a [u8], &'a [u8]),
    /// The salt of what is said about the event, and that.
    pub meta: (&'a [u8], &'a [u8]),
}

/// The fields of the hashed bytes that a verifier needs, in place.
#[derive(Clone, Debug)]
pub struct HeaderFields<'a> {
    /// Whose it is.
    pub tenant: Uuid,
    /// Where it belongs.
    pub stream: Option<&'a [u8]>,
    /// Its stored name.
    pub type_name: &'a str,
    /// Which form of that name.
    pub schema_version: i16,
    /// Its own id.
    pub event_id: Uuid,
    /// What its payload is committed to with.
    pub payload_commit: &'a Hash,
    /// What its meta is committed to with.
    pub meta_commit: &'a Hash,
}

impl<'a> HeaderFields<'a> {
    /// Reads the bytes that an event's hash covers; none when they are no such bytes.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (magic, mut rest) = bytes.split_first_chunk::<8>()?;
        (magic == EVENT_MAGIC).then_some(())?;
        let mut next = || {
            let (field, after) = field(rest)?;
            rest = after;
            Some(field)
        };
        let tenant = Uuid::from_slice(next()??).ok()?;
        let stream = next()?;
        let type_name = std::str::from_utf8(next()??).ok()?;
        let schema_version = i16::from_be_bytes(next()??.try_into().ok()?);
        let event_id = Uuid::from_slice(next()??).ok()?;
        let _occurred_at: [u8; 8] = next()??.try_into().ok()?;
        std::str::from_utf8(next()??).ok()?;
        for _ in ["causation", "correlation"] {
            (next()?.is_none_or(|id| id.len() == 16)).then_some(())?;
        }
        (next()??.len().is_multiple_of(16)).then_some(())?;
        let payload_commit = next()??.try_into().ok()?;
        let meta_commit = next()??.try_into().ok()?;
        let fields = Self {
            tenant,
            stream,
            type_name,
            schema_version,
            event_id,
            payload_commit,
            meta_commit,
        };
        rest.is_empty().then_some(fields)
    }
}

/// The next field and what follows it; `Some(None)` for one that has no value.
fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u32::from_be_bytes(*length);
    if length == ABSENT {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(value), rest))
}

fn put(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    let length = value.map_or(ABSENT, |value| u32::try_from(value.len()).unwrap_or(ABSENT));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value.unwrap_or_default());
}

/// The frame of an event.
pub(super) fn write(entry: Entry, header: &[u8], bodies: Option<Bodies<'_>>) -> Vec<u8> {
    let mut bytes = entry.to_bytes().to_vec();
    put(&mut bytes, Some(header));
    for (salt, body) in
        [bodies.map(|both| both.payload), bodies.map(|both| both.meta)].map(Option::unzip)
    {
        put(&mut bytes, salt);
        put(&mut bytes, body);
    }
    bytes
}

/// An event whose parts have been checked against each other: its hash is that of its bytes, and
/// its bodies are what those commit to. Where things stand is relative to a buffer.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) entry: Entry,
    pub(super) leaf: Hash,
    pub(super) tenant: Uuid,
    /// Stands for the stream's name, if there is one.
    pub(super) stream: Option<u128>,
    pub(super) type_name: Range<usize>,
    pub(super) schema_version: i16,
    pub(super) event_id: Uuid,
    /// None where the bundle does not have it.
    pub(super) payload: Option<Range<usize>>,
}

/// Reads and hashes the frame of an event that stands at `within` of a buffer.
pub(super) fn check(buffer: &[u8], within: Range<usize>) -> Result<Checked, &'static str> {
    let bytes = &buffer[within];
    let form = "the event is not written as one is";
    let (entry_bytes, rest) = bytes.split_first_chunk::<ENTRY_BYTES>().ok_or(form)?;
    let entry = Entry::from_bytes(entry_bytes).ok_or("its entry is not written as one is")?;
    let (header, mut rest) = field(rest).ok_or(form)?;
    let header = header.ok_or(form)?;
    if entry.event_hash[..] != Sha256::digest(header)[..] {
        return Err("the event does not have the hash that its entry says; it was changed");
    }
    let fields =
        HeaderFields::read(header).ok_or("its hashed bytes are not written as they are")?;
    let mut bodies = [None; 4];
    for body in &mut bodies {
        (*body, rest) = field(rest).ok_or(form)?;
    }
    if !rest.is_empty() {
        return Err(form);
    }
    let [payload_salt, payload, meta_salt, meta] = bodies;
    match (payload_salt, payload, meta_salt, meta) {
        (None, None, None, None) => {}
        (Some(payload_salt), Some(payload), Some(meta_salt), Some(meta)) => {
            if payload_salt.len() != SALT_BYTES || meta_salt.len() != SALT_BYTES {
                return Err("a salt has not sixteen bytes; it was changed");
            }
            if payload_commit(payload_salt, payload) != *fields.payload_commit {
                return Err("its payload is not the one that its hash commits to; it was changed");
            }
            if meta_commit(meta_salt, meta) != *fields.meta_commit {
                return Err("its meta is not the one that its hash commits to; it was changed");
            }
        }
        _ => return Err("only a part of its bodies is there"),
    }
    Ok(Checked {
        entry,
        leaf: entry.leaf(),
        tenant: fields.tenant,
        stream: fields.stream.map(stand_in),
        type_name: place(buffer, fields.type_name.as_bytes()),
        schema_version: fields.schema_version,
        event_id: fields.event_id,
        payload: payload.map(|payload| place(buffer, payload)),
    })
}

/// The bodies in the frame of an event with this hash; none where it is another one, or was
/// changed, or is there without bodies.
pub(crate) fn archived_body(bytes: &[u8], hash: &Hash) -> Option<ArchivedBody> {
    let checked = check(bytes, 0..bytes.len()).ok()?;
    if checked.entry.event_hash != *hash {
        return None;
    }
    let (_, rest) = field(bytes.get(ENTRY_BYTES..)?)?;
    let (payload_salt, rest) = field(rest)?;
    let (payload, rest) = field(rest)?;
    let (meta_salt, rest) = field(rest)?;
    let (meta, _) = field(rest)?;
    Some(ArchivedBody {
        payload: payload?.to_vec(),
        payload_salt: payload_salt?.to_vec(),
        meta: meta?.to_vec(),
        meta_salt: meta_salt?.to_vec(),
    })
}

/// A short stand-in for the name of a stream, which nobody can make two names have.
fn stand_in(stream: &[u8]) -> u128 {
    let hash: Hash = Sha256::digest(stream).into();
    let (half, _) = hash.as_chunks::<16>();
    u128::from_be_bytes(half[0])
}

/// Where a part of a buffer stands in it.
fn place(buffer: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - buffer.as_ptr().addr();
    start..start + part.len()
}
