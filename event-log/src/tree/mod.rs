//! The Merkle tree over the log: how it is hashed, how it grows, and how things are proved by it.
//!
//! * [`hash`], [`proof`]: RFC 6962's hashing, what its proofs consist of, and checking them.
//! * [`range`]: the root of leaves that come one after the other, without keeping them.
//! * [`entry`]: what a leaf is the hash of.
//! * [`edge`]: letting the tree grow, and the tiles it is kept in.
//! * [`organizations`]: the map that proves how many events each organization has.
//!
//! All of these are pure. [`grow`] lets the stored tree follow the log, [`read`] answers what is
//! asked of it, [`walk`] hands it out from left to right, [`signed`] keeps the checkpoints,
//! [`guard`] keeps what was signed outside the database, and [`keeper`] does all of it while a
//! process runs.

pub mod edge;
pub mod entry;
pub mod grow;
pub mod guard;
pub mod hash;
pub mod keeper;
pub mod organizations;
pub mod proof;
pub mod range;
pub mod read;
pub mod signed;
pub mod walk;
