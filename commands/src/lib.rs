//! The only writer of events.
//!
//! A request goes through [`Executor::execute`]: who asks and may they ([`Caller`], `access`) →
//! load → decide ([`domain`]) → append ([`event_log`]) → [`Outcome`]. Losing a race is not an
//! error: it is loaded and decided again, a bounded number of times. Flows turn events into further
//! commands ([`flows`]); workers carry out effects ([`workers`]).
//!
//! What one command does to which streams is its plan, one file per context in `plan/`. No business
//! rule lives here: plans gather the recorded inputs (time, ids, prices, limits) and ask the
//! domain.

mod access;
mod caller;
mod clock;
mod command;
mod denials;
mod desk;
mod executor;
mod failure;
pub mod flows;
mod ids;
mod loader;
mod plan;
mod price_book;
mod snapshots;
mod usage;
pub mod workers;

pub use caller::Caller;
pub use clock::{Clock, SystemClock};
pub use command::{
    AccessCommand, CatalogueCommand, Command, CreditCommand, NewKey, PurchaseCommand,
    RetentionCommand, Right, ServiceCommand, Subject, TenancyCommand,
};
pub use executor::{Executor, Outcome, Receipt, Request};
pub use failure::{Failure, Refusal};
pub use ids::{derived_id, new_command_id, new_uuid};
pub use price_book::PriceBook;
pub use usage::{PreparedUsage, UsageAnswer, UsageItem, UsageReport, UsageVerdict};
