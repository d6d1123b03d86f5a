//! The subcommands of `opscenter`, one file each.

pub mod demo;
pub mod doctor;
mod end;
pub mod import_models;
pub mod import_usage;
mod json_members;
pub mod key;
pub mod log;
mod progress;
pub mod serve;
mod session;
mod suggest;
pub mod watch;
pub mod witnesses;

pub use end::{End, Stopped, conclude};
