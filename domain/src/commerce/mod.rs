//! Commerce: what is bought.

pub mod purchase;
