//! Organizations: whom usage is recorded for and who pays.

pub mod organization;

pub use organization::{Command, Event, Organization, OrganizationRole, Refusal};
