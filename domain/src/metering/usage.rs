//! A usage record: what a service says was used.
//!
//! A record is identified for ever by organization, source and the source's own id of it; the log
//! keeps that unique. A record belongs to the hour and the month in which it occurred, whenever it
//! arrives. The organization is the tenant that the log stores beside the event.

use crate::catalogue::rate_card::PowerLevel;
use crate::events::events;
use crate::values::{Code, ModelName, Text};
use std::collections::BTreeMap;

events! {
    /// What can have happened to usage.
    pub enum Event {
        /// Something was used.
        UsageRecorded = "usage_recorded" 1 "usage.record" {
            /// Who reports it: a service, a file.
            source: Text,
            /// The source's own id of the record.
            usage_id: Text,
            /// The model that was called, when one was.
            model: Option<ModelName>,
            /// At which power.
            power: PowerLevel,
            /// How much of each meter, in the meter's base unit.
            quantities: BTreeMap<Code, u64>,
        }
    }
}

/// Why a usage record says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was used.
    #[error("a usage record states at least one quantity")]
    Empty,
    /// More than can be counted.
    #[error("{quantity} {meter} in one record is more than the {limit} that one may state")]
    TooMuch {
        /// Which meter.
        meter: Code,
        /// How much.
        quantity: u64,
        /// How much at most.
        limit: u64,
    },
    /// No such meter.
    #[error("there is no meter {0}; define it first, or use one of `meters`")]
    UnknownMeter(Code),
    /// It could not be charged.
    #[error("{0}")]
    Unpriceable(#[from] crate::metering::Unpriceable),
    /// Recorded before, and otherwise.
    #[error("usage {usage_id:?} was recorded at position {position} with other content")]
    Different {
        /// The source's id.
        usage_id: String,
        /// Where it stands.
        position: i64,
    },
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "USAGE_EMPTY",
            Self::TooMuch { .. } => "USAGE_TOO_MUCH",
            Self::UnknownMeter(_) => "METER_NOT_FOUND",
            Self::Unpriceable(_) => "USAGE_UNPRICEABLE",
            Self::Different { .. } => "USAGE_DIFFERENT",
        }
    }
}

/// The most of one meter that one record may state: far beyond any call, and small enough that no
/// sum of a period can overflow.
pub const QUANTITY_MAX: u64 = 1_000_000_000_000;

impl UsageRecorded {
    /// Checks what can be checked without knowing the catalogue.
    ///
    /// # Errors
    /// [`Refusal::Empty`] and [`Refusal::TooMuch`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.quantities.is_empty() {
            return Err(Refusal::Empty);
        }
        let beyond = self.quantities.iter().find(|(_, quantity)| **quantity > QUANTITY_MAX);
        match beyond {
            Some((meter, quantity)) => Err(Refusal::TooMuch {
                meter: meter.clone(),
                quantity: *quantity,
                limit: QUANTITY_MAX,
            }),
            None => Ok(()),
        }
    }
}
