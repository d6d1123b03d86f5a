//! Workers carry out effects: what changes something outside the log.
//!
//! An effect is asked for by an event, taken on by one worker under a lease, carried out at most
//! once, and its outcome is an event again. A worker may die at any point: whoever comes after it
//! looks at what became of the effect and says so, and never carries it out a second time.
//!
//! [`service_actions`] starts and stops containers. The outside is behind [`ContainerEngine`],
//! which `integrations` implements; the log is behind [`ActionDesk`].

pub mod action_desk;
pub mod container_engine;
pub mod service_actions;

pub use action_desk::{ActionDesk, DeskError, OpenAction, Taken};
pub use container_engine::{ContainerEngine, EngineError};
pub use service_actions::{ServiceActionWorker, Settings};
