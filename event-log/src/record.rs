//! What is recorded: streams, events on their way in, and events as the log holds them.

use crate::Position;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// The longest name of a stream, in bytes.
const STREAM_BYTES_MAX: usize = 200;

/// The name of a stream: `<kind>/<id>`, or just `<kind>` where there is only one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(String);

/// Why a text is no name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no stream: one to 200 bytes of <kind>/<id> without control characters are needed"
)]
pub struct InvalidStream {
    given: String,
}

impl StreamId {
    /// The stream of one thing of a kind.
    pub fn new(kind: &str, id: &str) -> Result<Self, InvalidStream> {
        Self::try_from(format!("{kind}/{id}"))
    }

    /// A stream whose name stands as a whole, such as `installation`.
    pub fn parse(name: &str) -> Result<Self, InvalidStream> {
        Self::try_from(name.to_owned())
    }

    /// What comes before the first `/`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(kind, _)| kind)
    }

    /// What comes after the first `/`; empty for a stream that is the only one of its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamId {
    type Error = InvalidStream;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        let named = given.split('/').next().is_some_and(|kind| !kind.is_empty());
        if !named || given.len() > STREAM_BYTES_MAX || given.chars().any(char::is_control) {
            return Err(InvalidStream { given });
        }
        Ok(Self(given))
    }
}

impl From<StreamId> for String {
    fn from(stream: StreamId) -> Self {
        stream.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event on its way into the log; everything about it is settled before the lock.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Whose it is; the nil uuid for the platform itself.
    pub tenant: Uuid,
    /// Where it belongs; none for bulk usage.
    pub stream: Option<StreamId>,
    /// The stored name, chosen once and for ever.
    pub type_name: Cow<'static, str>,
    /// Which form of that name the payload has.
    pub schema_version: i16,
    /// Its own id, made by the writer.
    pub event_id: Uuid,
    /// When it happened, as the writer says; kept to the microsecond.
    pub occurred_at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// The command or event it follows from.
    pub causation: Option<Uuid>,
    /// What it belongs together with.
    pub correlation: Option<Uuid>,
    /// Bytes about the event.
    pub meta: Vec<u8>,
    /// The body.
    pub payload: Vec<u8>,
    /// What later conditions may look for.
    pub tags: Vec<String>,
    /// Whose keys the body was sealed with.
    pub subjects: Vec<Uuid>,
}

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the order of everything.
    pub position: Position,
    /// Whose it is.
    pub tenant: Uuid,
    /// Where it belongs.
    pub stream: Option<StreamId>,
    /// Its place in that stream: 1, 2, 3, …
    pub stream_version: Option<i64>,
    /// The stored name.
    pub type_name: String,
    /// Which form of that name the payload has.
    pub schema_version: i16,
    /// Its own id.
    pub event_id: Uuid,
    /// The log's time: strictly increasing from batch to batch.
    pub recorded_at: DateTime<Utc>,
    /// When it happened, as the writer said.
    pub occurred_at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// The command or event it follows from.
    pub causation: Option<Uuid>,
    /// What it belongs together with.
    pub correlation: Option<Uuid>,
    /// Bytes about the event.
    pub meta: Vec<u8>,
    /// The body.
    pub payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::StreamId;

    #[test]
    fn a_stream_splits_into_kind_and_id_at_the_first_slash() {
        let stream = StreamId::new("model", "vendor/name").unwrap();
        assert_eq!((stream.kind(), stream.id()), ("model", "vendor/name"));
        let single = StreamId::parse("installation").unwrap();
        assert_eq!((single.kind(), single.id()), ("installation", ""));
    }

    #[test]
    fn a_stream_needs_a_kind_and_a_bounded_printable_name() {
        for bad in ["", "/x", "a/\u{0}", "a/\n", &format!("a/{}", "x".repeat(199))] {
            let error = StreamId::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        assert!(StreamId::parse(&format!("a/{}", "x".repeat(198))).is_ok());
    }
}
