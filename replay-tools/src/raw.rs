//! The raw form of a log as a file: JSON Lines with every column, so that it can be verified on a
//! machine that has no database (`docs/replay.md` describes it for other readers).
//!
//! A line is `{"batch": …}` or `{"event": …}`; the events of a batch follow its line. Bytes are
//! base64, digests and salts hexadecimal, times RFC 3339 in UTC to the microsecond.

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::{BASE64, HEXLOWER};
use event_log::verify::{RawBatch, RawRow};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Batch(Batch),
    Event(Box<Event>),
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
    tenant: Uuid,
    stream: Option<String>,
    stream_version: Option<i64>,
    #[serde(rename = "type")]
    type_name: String,
    schema_version: i16,
    event_id: Uuid,
    recorded_at: Time,
    occurred_at: Time,
    actor: String,
    causation: Option<Uuid>,
    correlation: Option<Uuid>,
    subjects: Vec<Uuid>,
    meta: Base64,
    meta_salt: Hex,
    payload: Base64,
    payload_salt: Hex,
    event_hash: Hex,
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
            tenant: row.tenant,
            stream: row.stream,
            stream_version: row.stream_version,
            type_name: row.type_name,
            schema_version: row.schema_version,
            event_id: row.event_id,
            recorded_at: Time(row.recorded_at),
            occurred_at: Time(row.occurred_at),
            actor: row.actor,
            causation: row.causation,
            correlation: row.correlation,
            subjects: row.subjects,
            meta: Base64(row.meta),
            meta_salt: Hex(row.meta_salt),
            payload: Base64(row.payload),
            payload_salt: Hex(row.payload_salt),
            event_hash: Hex(row.event_hash),
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
            tenant: event.tenant,
            stream: event.stream,
            stream_version: event.stream_version,
            type_name: event.type_name,
            schema_version: event.schema_version,
            event_id: event.event_id,
            recorded_at: event.recorded_at.0,
            occurred_at: event.occurred_at.0,
            actor: event.actor,
            causation: event.causation,
            correlation: event.correlation,
            meta: event.meta.0,
            payload: event.payload.0,
            meta_salt: event.meta_salt.0,
            payload_salt: event.payload_salt.0,
            subjects: event.subjects,
            event_hash: event.event_hash.0,
        }
    }
}

/// A time to the microsecond: a finer one would hash the same as another and is refused.
struct Time(DateTime<Utc>);
struct Hex(Vec<u8>);
struct Base64(Vec<u8>);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
        if !time.timestamp_subsec_nanos().is_multiple_of(1_000) {
            return Err(D::Error::custom("times have six digits after the point"));
        }
        Ok(Self(time.to_utc()))
    }
}

macro_rules! encoded {
    ($($name:ident by $encoding:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$encoding.encode(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let bytes = $encoding.decode(text.as_bytes()).map_err(D::Error::custom)?;
                Ok(Self(bytes))
            }
        }
    )*};
}

encoded!(Hex by HEXLOWER, Base64 by BASE64);
