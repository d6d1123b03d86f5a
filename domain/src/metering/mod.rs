//! Usage: what was used, and what it costs.

pub mod rating;
pub mod usage;

pub use rating::{Explanation, RatedPart, Unpriceable, rate};
pub use usage::{Event, UsageRecorded};
