//! The event log: one Postgres table of everything that ever happened, in one order.
//!
//! What it promises, whoever asks:
//!
//! * positions are 1, 2, 3, … without a gap and become visible in that order;
//! * what was acknowledged is on disk;
//! * an append is all or nothing, over any number of streams, under its conditions;
//! * a command id takes effect once, and a repeat gets the first answer again;
//! * every later change to history is found by whoever recomputes the chain.
//!
//! It knows bytes, streams and positions, and nothing of the business. Start with
//! [`EventLog`]; what an event is made of is in [`record`](NewEvent), how it is hashed in
//! [`evidence`], and the SQL that does the work in `migrations/`.

mod append;
pub mod archive;
mod backend;
pub mod bundle;
mod call;
mod checkpoints;
pub mod evidence;
mod follow;
mod log;
mod lone_call;
mod lookup;
mod migrate;
pub mod note;
mod personal;
mod position;
pub mod purge;
mod queue;
mod read;
mod read_ahead;
mod record;
pub mod secret_file;
mod settled;
pub mod signing_keys;
mod snapshots;
pub mod tlog_proof;
pub mod tree;
mod usage;
mod usage_call;
mod vault;
pub mod verify;
pub mod witness;
mod writer;

pub use append::{Append, AppendError, ClaimChange, CommandKey, Condition, Receipt};
pub use checkpoints::{
    Timer, advance, consumer_position, consumer_remove, consumer_set, lease_give_back, lease_take,
    timer_clear, timer_set, timers_due,
};
pub use follow::Follower;
pub use log::{CommitMode, EventLog, OpenError, Settings};
pub use migrate::{Layout, MigrateError, Migrated, SCHEMA_VERSION, migrate, migrate_with};
pub use personal::{KeyError, KeyRing, MasterKey, Opened};
pub use position::Position;
pub use read::ReadError;
pub use read_ahead::Stretch;
pub use record::{InvalidStream, NewEvent, Recorded, StreamId};
pub use signing_keys::{KeyState, SigningKey, SigningKeyError, SigningKeys};
pub use snapshots::{KeptSnapshot, Snapshot};
pub use usage::{UsageBatch, UsageOutcome, UsageReceipt, UsageRecord};
pub use vault::{NoVaultItem, VaultItem};
