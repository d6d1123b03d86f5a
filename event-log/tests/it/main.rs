//! The event log against a real server: every invariant of the log is a named test here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

mod alone;
mod append;
mod bundle;
mod crash;
mod evidence;
mod groups;
mod guards;
mod idempotency;
mod keeper;
mod notes;
mod order;
mod purge;
mod purge_evidence;
mod set_up;
mod signing_keys;
mod tree;
mod vault;
mod whatever_happens;
mod world;
