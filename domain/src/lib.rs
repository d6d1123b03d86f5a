//! What can be asked, refused and happen in Ops Center.
//!
//! One module per context, one file per aggregate. Start with [`credits`], which holds the rule
//! that matters most: what an organization may spend. Every aggregate is two functions, `decide`
//! and `evolve` ([`Aggregate`]).
//!
//! Nothing here awaits, reads a clock, makes a random number or knows SQL: ids, time, prices and
//! limits come in with the command. No number near money, quantities or rates is floating point.

pub mod access;
mod aggregate;
pub mod catalogue;
pub mod commerce;
pub mod credits;
pub mod events;
pub mod identity;
pub mod installation;
pub mod metering;
pub mod operations;
pub mod personal;
pub mod retention;
pub mod tenancy;
pub mod values;

pub use aggregate::{Aggregate, fold};
pub use events::{DecodeError, EncodeError, Event, OfAnotherKind};
pub use personal::Personal;

/// A moment, in UTC, always given and never read from a clock here.
pub type Instant = chrono::DateTime<chrono::Utc>;
