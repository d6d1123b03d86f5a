//! The raw form of a log as a file: JSON Lines with every column, so that it can be verified on a
//! machine that has no database.
//!
//! The form is that of the test vectors of `docs/log-format.md`, and the script that stands
//! beside them verifies such a file as it is: each batch, then its rows; bytes and ids hexadecimal,
//! times in microseconds since 1970.

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use event_log::verify::{RawBatch, RawRow};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// One line of the file.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Batch(Batch),
    Event(Box<Event>),
}

impl Line {
    /// Reads a line; most are events.
    pub(crate) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text).map(Self::Event).or_else(|error| {
            // What is neither is most likely a damaged event.
            serde_json::from_slice(text).map(Self::Batch).map_err(|_| error)
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    first: i64,
    last: i64,
    recorded_at: Time,
    chain: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    position: i64,
    tenant: Id,
    stream: Option<String>,
    stream_version: Option<i64>,
    #[serde(rename = "type")]
    type_name: String,
    schema_version: i16,
    event_id: Id,
    recorded_at: Time,
    occurred_at: Time,
    actor: String,
    causation: Option<Id>,
    correlation: Option<Id>,
    subjects: Vec<Id>,
    meta: Hex,
    meta_salt: Hex,
    payload: Hex,
    payload_salt: Hex,
    event_hash: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_commit: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta_commit: Option<Hex>,
}

impl From<RawBatch> for Line {
    fn from(batch: RawBatch) -> Self {
        Self::Batch(Batch {
            first: batch.first,
            last: batch.last,
            recorded_at: Time(batch.recorded_at),
            chain: Hex(batch.chain),
        })
    }
}

impl From<RawRow> for Line {
    fn from(row: RawRow) -> Self {
        Self::Event(Box::new(Event {
            position: row.position,
            tenant: Id(row.tenant),
            stream: row.stream,
            stream_version: row.stream_version,
            type_name: row.type_name,
            schema_version: row.schema_version,
            event_id: Id(row.event_id),
            recorded_at: Time(row.recorded_at),
            occurred_at: Time(row.occurred_at),
            actor: row.actor,
            causation: row.causation.map(Id),
            correlation: row.correlation.map(Id),
            subjects: row.subjects.into_iter().map(Id).collect(),
            meta: Hex(row.meta),
            meta_salt: Hex(row.meta_salt),
            payload: Hex(row.payload),
            payload_salt: Hex(row.payload_salt),
            event_hash: Hex(row.event_hash),
            payload_commit: row.payload_commit.map(Hex),
            meta_commit: row.meta_commit.map(Hex),
        }))
    }
}

impl From<Batch> for RawBatch {
    fn from(batch: Batch) -> Self {
        Self {
            first: batch.first,
            last: batch.last,
            recorded_at: batch.recorded_at.0,
            chain: batch.chain.0,
        }
    }
}

impl From<Box<Event>> for RawRow {
    fn from(event: Box<Event>) -> Self {
        Self {
            position: event.position,
            tenant: event.tenant.0,
            stream: event.stream,
            stream_version: event.stream_version,
            type_name: event.type_name,
            schema_version: event.schema_version,
            event_id: event.event_id.0,
            recorded_at: event.recorded_at.0,
            occurred_at: event.occurred_at.0,
            actor: event.actor,
            causation: event.causation.map(|id| id.0),
            correlation: event.correlation.map(|id| id.0),
            meta: event.meta.0,
            payload: event.payload.0,
            meta_salt: event.meta_salt.0,
            payload_salt: event.payload_salt.0,
            subjects: event.subjects.into_iter().map(|id| id.0).collect(),
            event_hash: event.event_hash.0,
            payload_commit: event.payload_commit.map(|bytes| bytes.0),
            meta_commit: event.meta_commit.map(|bytes| bytes.0),
        }
    }
}

struct Time(DateTime<Utc>);
struct Hex(Vec<u8>);
struct Id(Uuid);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.timestamp_micros())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let micros = i64::deserialize(deserializer)?;
        let time = DateTime::from_timestamp_micros(micros);
        time.map(Self).ok_or_else(|| D::Error::custom("the time is beyond what can be kept"))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.simple())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}
