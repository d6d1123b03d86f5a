//! Operations: services and what is done to them.

pub mod service;
