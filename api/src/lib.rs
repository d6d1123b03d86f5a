//! GraphQL and HTTP: parses, asks, answers, and decides nothing.
//!
//! Start with [`server::Server`], which opens the doors. `http/` is what a request meets first:
//! limits, who asks, which media type. `graphql/` is the schema, one file per context, resolvers of
//! one line. `reading/` is what a request reads through: permission, freshness, durability.
//! [`Problem`] is the one error that leaves this program; it shows no internals.
//!
//! Rules hold in `domain`, rights in `commands`; whoever looks for either here looks in vain.

pub mod cli;
mod graphql;
mod http;
mod metrics;
mod problem;
mod reading;
pub mod server;

pub use graphql::sdl;
pub use problem::{Code, Problem};
