//! What is offered and at which price: tiers, add-ons, credit packs, meters, models, rate card.
//!
//! Everything here is a versioned fact, never a row that is overwritten. [`standard`] holds the
//! published figures that a new installation begins with.

pub mod add_on;
pub mod credit_pack;
pub mod meter;
pub mod model;
pub mod rate_card;
pub mod standard;
pub mod tier;
