//! Who is there: people and the keys of programs.

pub mod api_key;
pub mod user;
