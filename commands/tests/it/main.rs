//! The executor and its flows on a real Postgres: one binary, a module per story.

#![cfg(test)]

mod access;
mod credits;
mod erasure;
mod holds;
mod purchases;
mod services;
mod snapshots;
mod usage;
mod world;
