//! The subcommands of `opscenter`, one file each.

mod end;
pub mod import_models;
pub mod import_usage;
mod json_members;
mod progress;
mod session;
mod suggest;

pub use end::{End, Stopped, conclude};
