//! Read models: what the log adds up to, kept ready for readers.
//!
//! A read model is one file: its tables, what each event does to them, how it is read. One word in
//! the list below registers it. Its rows are never the only place of a fact: they can be thrown
//! away and derived again, and a rebuild from zero equals the live rows byte for byte.
//!
//! Start with [`Runtime`], which keeps them up to date; [`Progress`] tells how far they are and
//! waits for them; [`rebuild`] makes a new generation beside the live one, compares and promotes
//! it. How a handler sees its rows is in [`table`].

mod between;
mod builds;
mod bulk;
mod columns;
mod control;
mod occurrence;
mod page;
mod parking;
mod progress;
mod projection;
mod read;
mod reader;
pub mod rebuild;
mod renewal;
mod retry;
mod rows_sql;
mod runtime;
pub mod table;
mod validity;
mod walk;

pub use between::{Between, RowChange, Wanted, between};
pub use builds::{Generation, generations};
pub use control::{Standing, State, install, resume, standings};
pub use occurrence::Occurrence;
pub use parking::{Parked, parked};
pub use progress::{Progress, Stale, confirm};
pub use projection::{ApplyError, Definition, Names, Projection, Takes};
pub use read::{PAGE_ROWS_MAX, ReadError, Scope, View};
pub use retry::{Retried, retry};
pub use rows_sql::RowsError;
pub use runtime::{Options, Runtime};
pub use walk::{Direction, Walk};

/// Declares the modules of the read models and the list that runs them.
macro_rules! projections {
    ($($(#[$meta:meta])* $module:ident::$Projection:ident),* $(,)?) => {
        $( $(#[$meta])* pub mod $module; )*

        /// Every read model there is.
        #[must_use]
        pub fn definitions() -> Vec<Definition> {
            vec![$(Definition::of::<$module::$Projection>()),*]
        }
    };
}

projections! {
    directory::Directory,
    catalogue::Catalogue,
    usage::Usage,
    credit_statement::CreditStatement,
    bill::Bill,
    purchases::Purchases,
    services::Services,
    audit_trail::AuditTrail,
}
