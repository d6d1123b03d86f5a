//! The tools of whoever replays history: auditors, finance, operators. Binary `opscenter-replay`.
//!
//! Each subcommand is a file. They look at an installation beside a running server or without one,
//! through transactions that the database keeps read-only, and answer from the log itself; only
//! `rebuild` writes, and only read models. `witness` is for the logs of others and opens none. What
//! a tool cannot vouch for is an error, never a figure.
//!
//! Exit codes: 0 the answer was given, 1 something is wrong with what was looked at, 2 the question
//! cannot be answered (a wrong argument, no database, no such thing). `verify` tells more apart:
//! 20, 21 and 22 of a log (`verify.rs`), and 10 and 30 besides of a bundle (`verify/bundle.rs`).

mod archive;
mod as_of;
pub mod command_line;
mod diff;
mod erasure_report;
mod events;
mod explain;
mod export;
mod failure;
mod history;
mod moment;
mod organization;
mod output;
mod raw;
mod read_model;
mod rebuild;
mod session;
mod snapshot;
mod thing;
mod totals;
mod verify;
mod witness;

use failure::Failure;
use output::Out;
