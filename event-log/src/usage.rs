//! Usage in bulk: many small records of one source, each counted once for ever.
//!
//! A record is known by (organization, source, usage id). A repeat is answered with the position
//! of the first, and the same identity with other content is refused and named.

use crate::append::{AppendError, CommandKey, EVENTS_MAX, check_events, check_name};
use crate::{NewEvent, Position};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use uuid::Uuid;

/// Up to a thousand records of one source, in the order they are to be recorded.
#[derive(Clone, Debug)]
pub struct UsageBatch {
    /// Whose usage it is.
    pub tenant: Uuid,
    /// Which counter or file it comes from.
    pub source: String,
    /// The records.
    pub records: Vec<UsageRecord>,
    /// Set when the batch came as a command whose receipt has to be kept.
    pub command: Option<CommandKey>,
}

/// One record: what it is called at its source, and the event that tells of it.
#[derive(Clone, Debug)]
pub struct UsageRecord {
    /// The source's own id of the record.
    pub usage_id: String,
    /// SHA-256 of what makes two records the same; tells a repeat from a contradiction.
    pub content_hash: [u8; 32],
    /// The event; it has no stream, no tags, and the tenant of the batch.
    pub event: NewEvent,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReceipt {
    /// One outcome per record, in order.
    pub outcomes: Vec<UsageOutcome>,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
    /// Position of the first new event, if any is new.
    pub first_position: Option<Position>,
    /// Position of the last new event, if any is new.
    pub last_position: Option<Position>,
    /// Whether the batch, as a command, had taken effect before.
    pub was_replayed: bool,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageOutcome {
    /// It is new and stands at this position.
    Recorded(Position),
    /// It was recorded before, at this position.
    Repeated(Position),
    /// Its identity was recorded before with other content; nothing was recorded.
    Different {
        /// Where the first one stands.
        position: Position,
    },
}

/// The truncated content hash that the log keeps beside an identity.
pub(crate) fn content_key(hash: &[u8; 32]) -> Uuid {
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(key)
}

/// Where a record of a batch went: repeats within the batch share the row of the first.
pub(crate) struct Place {
    /// The n-th row sent to the database.
    pub(crate) row: usize,
    /// Whether it is the record that row was made of.
    pub(crate) is_first: bool,
    /// What it says.
    pub(crate) content: Uuid,
}

impl UsageBatch {
    /// Checks what can be checked before the lock.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if self.records.len() > EVENTS_MAX {
            return Err(AppendError::Refused(format!(
                "{} usage records at once; at most {EVENTS_MAX} fit, split them",
                self.records.len()
            )));
        }
        check_name("a usage source", &self.source)?;
        for record in &self.records {
            check_name("a usage id", &record.usage_id)?;
            let event = &record.event;
            if event.stream.is_some() || !event.tags.is_empty() || event.tenant != self.tenant {
                return Err(AppendError::Refused(format!(
                    "usage {:?} needs the batch's tenant, no stream and no tags",
                    record.usage_id
                )));
            }
            check_events(std::slice::from_ref(event))?;
        }
        let bytes: usize =
            self.records.iter().map(|r| r.event.meta.len() + r.event.payload.len()).sum();
        let limit = crate::append::COMMAND_BYTES_MAX;
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    /// Gives every record its row: one row per identity, made of the first record that has it.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        let place = |record: &'_ UsageRecord, row, is_first| Place {
            row,
            is_first,
            content: content_key(&record.content_hash),
        };
        let mut places = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let next = rows.len();
            let row = *rows.entry(&record.usage_id).or_insert(next);
            places.push(place(record, row, row == next));
        }
        places
    }
}
