//! The whole system through its front doors, and the house rules: one binary, a module per story.

#![cfg(test)]

mod as_of;
mod audits;
mod bad_input;
mod bodies;
mod crash;
mod erasure;
mod evidence;
mod http;
mod limits;
mod lost_moments;
mod pages;
mod permissions;
mod programs;
mod read_models;
mod receipts;
mod refusals;
mod schema;
mod service_actions;
mod several_processes;
mod statements;
mod tidy;
mod usage;
mod walks;
mod witnesses;
