//! Who is there: people and the keys of programs.

pub mod api_key;
mod erasure;
pub mod user;
