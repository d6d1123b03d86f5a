//! Read models against a real server: every invariant of projections is a named test here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

mod beside;
mod dump;
mod killed;
mod load;
mod models;
mod owners;
mod past;
mod poison;
mod process;
mod promotion;
mod rebuilt;
mod recording;
mod simulation;
mod sweep;
mod tally;
mod temporal;
mod town;
mod waiting;
