//! The event log against a real server: every invariant of the log is a named test here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

mod append;
mod crash;
mod evidence;
mod order;
mod promises;
mod server;
mod set_up;
mod world;
