//! The harness of tests and benchmarks that come in through the front doors.
//!
//! A [`World`] is a Postgres server of its own with an empty log, the whole server in this process,
//! and an administrator who was set up through the one-time link. A [`Client`] speaks HTTP and
//! nothing else, so that whatever a test sees, a stranger could see as well.

#![expect(clippy::unwrap_used, reason = "a test that cannot have its world has failed")]
#![expect(clippy::panic, reason = "a test whose condition never comes true has failed")]

mod answer;
mod client;
mod world;

pub use answer::Answer;
pub use client::Client;
pub use world::{World, command_id, until};
