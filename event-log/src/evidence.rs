//! Evidence: how events are hashed, so that history can be checked by a stranger.
//!
//! Everything here is made before the lock and needs no database. The byte layout is written down
//! with test vectors in `docs/log-format.md`; it is frozen, and changing it would make every
//! log already written unverifiable. Integers are big-endian.

use crate::NewEvent;
use chrono::{DateTime, SubsecRound, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The first bytes of every hashed header: what it is and in which form.
pub const EVENT_MAGIC: &[u8; 8] = b"OPSEVT01";

/// The chain before the first batch.
pub const CHAIN_START: Hash = [0; 32];

/// Stands for "no value" where a length is expected; an empty value has the length zero.
const ABSENT: u32 = u32::MAX;

/// Everything of an event that its hash covers, the bodies by their commitments.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Whose it is.
    pub tenant: Uuid,
    /// Where it belongs.
    pub stream: Option<&'a str>,
    /// Its stored name.
    pub type_name: &'a str,
    /// Which form of that name.
    pub schema_version: i16,
    /// Its own id.
    pub event_id: Uuid,
    /// When it happened, in microseconds since 1970.
    pub occurred_at_micros: i64,
    /// Who did it.
    pub actor: &'a str,
    /// What it follows from.
    pub causation: Option<Uuid>,
    /// What it belongs together with.
    pub correlation: Option<Uuid>,
    /// Whose keys the body was sealed with.
    pub subjects: &'a [Uuid],
    /// See [`payload_commit`].
    pub payload_commit: Hash,
    /// See [`meta_commit`].
    pub meta_commit: Hash,
}

/// Commits to a payload without giving it away: the salt can be destroyed with the body.
#[must_use]
pub fn payload_commit(salt: &[u8], payload: &[u8]) -> Hash {
    commit(0x02, salt, payload)
}

/// Commits to the bytes about an event, apart from its payload.
#[must_use]
pub fn meta_commit(salt: &[u8], meta: &[u8]) -> Hash {
    commit(0x03, salt, meta)
}

fn commit(domain: u8, salt: &[u8], body: &[u8]) -> Hash {
    Sha256::new().chain_update([domain]).chain_update(salt).chain_update(body).finalize().into()
}

/// The hash of an event: of its [`header_bytes`].
#[must_use]
pub fn event_hash(header: &Header<'_>) -> Hash {
    Sha256::digest(header_bytes(header)).into()
}

/// The header of an event as it is hashed: every field after its length.
#[must_use]
pub fn header_bytes(header: &Header<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(320);
    bytes.extend_from_slice(EVENT_MAGIC);
    field(&mut bytes, Some(header.tenant.as_bytes()));
    field(&mut bytes, header.stream.map(str::as_bytes));
    field(&mut bytes, Some(header.type_name.as_bytes()));
    field(&mut bytes, Some(&header.schema_version.to_be_bytes()));
    field(&mut bytes, Some(header.event_id.as_bytes()));
    field(&mut bytes, Some(&header.occurred_at_micros.to_be_bytes()));
    field(&mut bytes, Some(header.actor.as_bytes()));
    field(&mut bytes, header.causation.as_ref().map(|id| id.as_bytes().as_slice()));
    field(&mut bytes, header.correlation.as_ref().map(|id| id.as_bytes().as_slice()));
    let subjects: Vec<u8> = header.subjects.iter().flat_map(|id| *id.as_bytes()).collect();
    field(&mut bytes, Some(&subjects));
    field(&mut bytes, Some(&header.payload_commit));
    field(&mut bytes, Some(&header.meta_commit));
    bytes
}

/// Appends one field: its length in four bytes, then itself.
fn field(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(value) = value else {
        bytes.extend_from_slice(&ABSENT.to_be_bytes());
        return;
    };
    // Fields are bounded far below this by the checks before the lock.
    let length = u32::try_from(value.len()).unwrap_or(ABSENT - 1);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

/// The chain after a batch: it covers every event before it.
#[must_use]
pub fn chain_next(
    previous: &Hash,
    first: i64,
    count: i32,
    recorded_at_micros: i64,
    event_hashes: &[Hash],
) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(first.to_be_bytes());
    hasher.update(count.to_be_bytes());
    hasher.update(recorded_at_micros.to_be_bytes());
    for hash in event_hashes {
        hasher.update(hash);
    }
    hasher.finalize().into()
}

/// An event with everything the lock must not wait for.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) event: NewEvent,
    pub(crate) meta_salt: [u8; 16],
    pub(crate) payload_salt: [u8; 16],
    pub(crate) hash: Hash,
}

/// Salts and hashes events. Time is cut to what the database keeps, so that it hashes the same.
pub(crate) fn prepare(events: Vec<NewEvent>) -> Result<Vec<Prepared>, getrandom::Error> {
    let mut salts = vec![[[0_u8; 16]; 2]; events.len()];
    getrandom::fill(salts.as_flattened_mut().as_flattened_mut())?;
    Ok(events
        .into_iter()
        .zip(salts)
        .map(|(mut event, [meta_salt, payload_salt])| {
            event.occurred_at = event.occurred_at.trunc_subsecs(6);
            let hash = hash_of(&event, &meta_salt, &payload_salt);
            Prepared { event, meta_salt, payload_salt, hash }
        })
        .collect())
}

fn hash_of(event: &NewEvent, meta_salt: &[u8], payload_salt: &[u8]) -> Hash {
    event_hash(&Header {
        tenant: event.tenant,
        stream: event.stream.as_ref().map(crate::StreamId::as_str),
        type_name: &event.type_name,
        schema_version: event.schema_version,
        event_id: event.event_id,
        occurred_at_micros: micros(event.occurred_at),
        actor: &event.actor,
        causation: event.causation,
        correlation: event.correlation,
        subjects: &event.subjects,
        payload_commit: payload_commit(payload_salt, &event.payload),
        meta_commit: meta_commit(meta_salt, &event.meta),
    })
}

/// Microseconds since 1970, which is what the database keeps and what is hashed.
#[must_use]
pub fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::{CHAIN_START, Hash, Header, chain_next, event_hash, meta_commit, payload_commit};
    use serde_json::Value;
    use uuid::Uuid;

    fn lines() -> Vec<Value> {
        let vectors = include_str!("../tests/verifiers/vectors.jsonl");
        vectors.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn id(value: &Value) -> Option<Uuid> {
        (!value.is_null()).then(|| Uuid::from_slice(&bytes(value)).unwrap())
    }

    fn hash_of(row: &Value) -> Hash {
        let subjects = row["subjects"].as_array().unwrap();
        let subjects: Vec<Uuid> = subjects.iter().filter_map(id).collect();
        event_hash(&Header {
            tenant: id(&row["tenant"]).unwrap(),
            stream: row["stream"].as_str(),
            type_name: row["type"].as_str().unwrap(),
            schema_version: row["schema_version"].as_i64().unwrap().try_into().unwrap(),
            event_id: id(&row["event_id"]).unwrap(),
            occurred_at_micros: row["occurred_at"].as_i64().unwrap(),
            actor: row["actor"].as_str().unwrap(),
            causation: id(&row["causation"]),
            correlation: id(&row["correlation"]),
            subjects: &subjects,
            payload_commit: payload_commit(&bytes(&row["payload_salt"]), &bytes(&row["payload"])),
            meta_commit: meta_commit(&bytes(&row["meta_salt"]), &bytes(&row["meta"])),
        })
    }

    #[test]
    fn hashes_and_chain_are_those_of_the_written_vectors() {
        let (mut chain, mut rows) = (CHAIN_START, 0);
        let mut lines = lines().into_iter();
        while let Some(batch) = lines.next() {
            let first = batch["first"].as_i64().unwrap();
            let count = batch["last"].as_i64().unwrap() - first + 1;
            let mut hashes = Vec::new();
            for _ in 0..count {
                let row = lines.next().unwrap();
                hashes.push(hash_of(&row));
                assert_eq!(hashes[hashes.len() - 1][..], bytes(&row["event_hash"]));
            }
            let recorded_at = batch["recorded_at"].as_i64().unwrap();
            let count = i32::try_from(count).unwrap();
            chain = chain_next(&chain, first, count, recorded_at, &hashes);
            assert_eq!(chain[..], bytes(&batch["chain"]));
            rows += count;
        }
        assert_eq!(rows, 3);
    }

    #[test]
    fn no_value_and_an_empty_value_are_not_the_same() {
        let header = |stream| Header {
            tenant: Uuid::nil(),
            stream,
            type_name: "t",
            schema_version: 1,
            event_id: Uuid::nil(),
            occurred_at_micros: 0,
            actor: "a",
            causation: None,
            correlation: None,
            subjects: &[],
            payload_commit: [0; 32],
            meta_commit: [0; 32],
        };
        assert_ne!(event_hash(&header(None)), event_hash(&header(Some(""))));
    }
}
