//! Retention: how long things are kept, what stops their destruction, and what is left of them.
//!
//! * [`legal_hold`]: while one stands, nothing it covers is destroyed.
//! * [`policy`]: how long bodies of a kind are kept, and the record of their purge.
//! * [`purged`]: what an event is whose body was purged.
//!
//! Erasing a person is a matter of [`crate::identity::user`].

pub mod legal_hold;
pub mod policy;
pub mod purged;

pub use legal_hold::{HoldTarget, LegalHolds};
pub use policy::{RecordKind, RetentionPolicy};
