//! Meters: what is counted, how it is added up, in which unit.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::Code;
use serde::{Deserialize, Serialize};

/// How single records become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// How many there were.
    Count,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
}

impl Aggregation {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Max => "max",
        }
    }

    /// Takes one more quantity into a figure; the order of records does not matter.
    #[must_use]
    pub fn take_in(self, figure: u64, quantity: u64) -> u64 {
        match self {
            Self::Count | Self::Sum => figure.saturating_add(quantity),
            Self::Max => figure.max(quantity),
        }
    }
}

events! {
    /// What can have happened to a meter.
    pub enum Event {
        /// The meter counts like this; it never counts otherwise.
        MeterDefined = "meter_defined" 1 "catalogue.meter.define" {
            /// Which.
            meter: Code,
            /// How single records become one figure.
            aggregation: Aggregation,
            /// The base unit of a quantity: `token`, `second`, `call`.
            unit: Code,
        }
    }
}

/// What can be asked of a meter's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say how it counts.
    Define(MeterDefined),
}

/// Why a meter's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A meter never changes.
    #[error("the meter exists and counts otherwise; define one with another code")]
    Immutable,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Immutable => "METER_IMMUTABLE",
        }
    }
}

/// A meter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// How it counts; `None` when it was never defined.
    pub defined: Option<MeterDefined>,
}

impl Aggregate for Meter {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "meter";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Define(meter) = command;
        match &self.defined {
            None => Ok(vec![meter.into()]),
            Some(same) if *same == meter => Ok(vec![]),
            Some(_) => Err(Refusal::Immutable),
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::MeterDefined(defined) => self.defined = Some(defined.clone()),
        }
        self
    }
}
