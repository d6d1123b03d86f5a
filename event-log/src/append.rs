//! What can be asked of the log in one append, and what it answers.

use crate::{NewEvent, Position, StreamId};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use uuid::Uuid;

/// The largest meta or payload of one event.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// The most that one command may carry.
pub(crate) const COMMAND_BYTES_MAX: usize = 8 << 20;
/// The most events of one command, and the most records of one usage batch.
pub(crate) const EVENTS_MAX: usize = 1_000;
/// Joins lists that travel as one text; no name may hold a control character.
pub(crate) const SEPARATOR: &str = "\u{1f}";

/// What tells one command from another, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandKey {
    /// Chosen by whoever asks; the same for every repeat.
    pub id: Uuid,
    /// The hash of what is asked, so that a repeat is told from a reuse.
    pub content_hash: [u8; 32],
}

/// One command's worth of events: recorded as a whole, or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which command this is.
    pub command: CommandKey,
    /// Whose it is: the scope of its claims and of its conditions on tags.
    pub tenant: Uuid,
    /// What has to hold when its turn comes.
    pub conditions: Vec<Condition>,
    /// What it takes or gives back; at most one change per scope and value.
    pub claims: Vec<ClaimChange>,
    /// What happened. None is allowed: the receipt alone is kept then.
    pub events: Vec<NewEvent>,
}

/// What has to hold under the lock for an append to take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The stream is where the writer saw it; zero when it must not exist.
    StreamVersion {
        /// Which stream.
        stream: StreamId,
        /// The version of its last event.
        version: i64,
    },
    /// The tenant has no event of these types (of any, if none is named) with all of these tags
    /// (at least one) after a position.
    NoneSince {
        /// Stored names of events.
        types: Vec<String>,
        /// Tags an event must carry all of.
        tags: Vec<String>,
        /// Where to start looking.
        after: Position,
    },
}

/// A change to who holds what may be held once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    /// Take it; refused while somebody else holds it.
    Take {
        /// Kind of thing that is unique.
        scope: String,
        /// The value, hashed so that nothing personal stays here.
        value_hash: [u8; 32],
        /// Who holds it from now on.
        holder: String,
    },
    /// Give it back; refused when somebody else holds it.
    Release {
        /// Kind of thing that is unique.
        scope: String,
        /// The value, hashed.
        value_hash: [u8; 32],
        /// Who held it.
        holder: String,
    },
}

/// The answer to a command that took effect, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which command.
    pub command_id: Uuid,
    /// Whose.
    pub tenant: Uuid,
    /// Position of its first event; for an empty append the head of that moment.
    pub first_position: Position,
    /// Position of its last event.
    pub last_position: Position,
    /// Its events in order.
    pub event_ids: Vec<Uuid>,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
    /// Whether it had taken effect before this request.
    pub was_replayed: bool,
}

/// Why an append did not take effect, or why that is not known. Nothing was recorded unless the
/// variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody was faster: load again and decide again.
    #[error("{stream} is at version {actual}, not {expected}; load it again and decide again")]
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// What the writer had seen.
        expected: i64,
        /// What is there now.
        actual: i64,
    },
    /// Something happened that must not have: load again and decide again.
    #[error("position {position} holds an event that must not be there; load and decide again")]
    ConditionFailed {
        /// The first offending event.
        position: Position,
    },
    /// Somebody else holds it: ask for another value.
    #[error("{scope} is held by {holder}; choose another value")]
    ClaimTaken {
        /// Kind of thing that is unique.
        scope: String,
        /// Who holds it.
        holder: String,
    },
    /// The id stands for another command: choose a new id.
    #[error("command {command_id} was used before with other content; choose a new command id")]
    CommandReused {
        /// The id in question.
        command_id: Uuid,
    },
    /// Ask for less at once.
    #[error("{bytes} bytes are more than the {limit} that fit; split it")]
    TooLarge {
        /// What was given.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// Too much is waiting: try again a little later.
    #[error("too many commands are waiting for the log; try again shortly")]
    Busy,
    /// The database went away and the outcome is unknown: ask for the receipt, or repeat the
    /// command with the same id, which is always safe.
    #[error("the log cannot be reached and the outcome is unknown; repeat the same command")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// The history is not the one that was signed: nothing is recorded until an operator has seen
    /// to it.
    #[error("nothing is recorded just now: {0}")]
    Halted(crate::tree::guard::Halt),
    /// It can never be recorded as asked: a mistake of the program or of the set-up.
    #[error("the log refuses: {0}")]
    Refused(String),
}

impl Append {
    /// Checks what can be checked before the lock, so that one bad command never spoils a batch.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        check_events(&self.events)?;
        for condition in &self.conditions {
            match condition {
                Condition::StreamVersion { .. } => {}
                Condition::NoneSince { types, tags, .. } => {
                    if tags.is_empty() {
                        return Err(refused("a condition on events must name at least one tag"));
                    }
                    types.iter().chain(tags).try_for_each(|name| check_name("a name", name))?;
                }
            }
        }
        for (index, claim) in self.claims.iter().enumerate() {
            let (scope, value, holder) = claim.parts();
            check_name("a claim's scope", scope)?;
            check_name("a claim's holder", holder)?;
            let repeated = self.claims[..index].iter().any(|other| {
                let (other_scope, other_value, _) = other.parts();
                (other_scope, other_value) == (scope, value)
            });
            if repeated {
                return Err(AppendError::Refused(format!("two changes of one claim on {scope}")));
            }
        }
        Ok(())
    }

    /// Roughly what it weighs in a batch.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.meta.len() + event.payload.len()).sum()
    }

    /// Whether it has conditions that are checked for the first command of a call only.
    pub(crate) fn needs_to_be_first(&self) -> bool {
        let on_tags = |condition: &Condition| matches!(condition, Condition::NoneSince { .. });
        !self.claims.is_empty() || self.conditions.iter().any(on_tags)
    }

    /// The streams whose version it relies on, and the versions.
    pub(crate) fn expected_versions(&self) -> impl Iterator<Item = (&StreamId, i64)> {
        self.conditions.iter().filter_map(|condition| match condition {
            Condition::StreamVersion { stream, version } => Some((stream, *version)),
            Condition::NoneSince { .. } => None,
        })
    }

    /// The streams whose version it relies on.
    pub(crate) fn expected_streams(&self) -> impl Iterator<Item = &StreamId> {
        self.expected_versions().map(|(stream, _)| stream)
    }
}

impl ClaimChange {
    /// Scope, value and holder, whichever way the change goes.
    pub(crate) fn parts(&self) -> (&str, &[u8; 32], &str) {
        match self {
            Self::Take { scope, value_hash, holder }
            | Self::Release { scope, value_hash, holder } => (scope, value_hash, holder),
        }
    }
}

/// Checks events against the limits that hold for every way into the log.
pub(crate) fn check_events(events: &[NewEvent]) -> Result<(), AppendError> {
    if events.len() > EVENTS_MAX {
        return Err(AppendError::Refused(format!(
            "{} events at once; at most {EVENTS_MAX} fit, split them",
            events.len()
        )));
    }
    let mut total = 0;
    for event in events {
        for body in [&event.meta, &event.payload] {
            if body.len() > BODY_BYTES_MAX {
                return Err(AppendError::TooLarge { bytes: body.len(), limit: BODY_BYTES_MAX });
            }
            total += body.len();
        }
        check_name("an event's type", &event.type_name)?;
        check_name("an event's actor", &event.actor)?;
        event.tags.iter().try_for_each(|tag| check_name("a tag", tag))?;
    }
    if total > COMMAND_BYTES_MAX {
        return Err(AppendError::TooLarge { bytes: total, limit: COMMAND_BYTES_MAX });
    }
    Ok(())
}

/// Names are short, printable and never empty: they become keys of indexes.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), AppendError> {
    if name.is_empty() || name.len() > 500 || name.chars().any(char::is_control) {
        return Err(AppendError::Refused(format!(
            "{what} needs 1 to 500 bytes without control characters, not {name:?}"
        )));
    }
    Ok(())
}

fn refused(reason: &str) -> AppendError {
    AppendError::Refused(reason.to_owned())
}
