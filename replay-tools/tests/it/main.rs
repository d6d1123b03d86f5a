//! The tools against a real server and a real history.
#![cfg(test)]

mod archive;
mod as_of;
mod bundle;
mod diff;
mod erasure_report;
mod events;
mod explain;
mod killed;
mod purged;
mod read_model;
mod rebuild;
mod server;
mod signed;
mod tampering;
mod totals;
mod verify;
mod witness;
mod world;
