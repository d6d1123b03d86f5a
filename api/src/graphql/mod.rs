//! The schema: one file per context, resolvers that call plain functions.
//!
//! A query asks [`Asking`] whether the caller may look, then reads a read model. A mutation makes a
//! command of its input and hands it to the executor ([`outcome`]); it decides nothing. What a
//! document may cost is weighed before anything runs ([`limits`]).

#![expect(
    clippy::too_many_arguments,
    reason = "an argument of a field is an argument of its resolver, and a list has five of its own"
)]

mod access;
mod audit;
mod catalogue;
mod commerce;
mod credits;
mod documents;
mod error;
mod evidence;
mod identity;
mod installation;
mod limits;
mod metering;
mod node;
mod operations;
mod outcome;
mod page;
mod rates;
mod retention;
mod scalars;
mod tenancy;

pub(crate) use access::new_key;
pub(crate) use documents::{Documents, Executed, Incoming};
pub(crate) use error::response_of;
pub(crate) use metering::{RECORDS_MAX, Recording, record};
pub(crate) use scalars::{DateTime, LogPosition, moment};

use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{
    Context, EmptySubscription, MergedObject, SDLExportOptions, Schema as LibrarySchema,
};
use event_log::Position;
use std::sync::Arc;

/// Everything that can be asked.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    node::NodeQuery,
    identity::IdentityQuery,
    tenancy::TenancyQuery,
    catalogue::CatalogueQuery,
    rates::RatesQuery,
    credits::CreditQuery,
    commerce::CommerceQuery,
    metering::MeteringQuery,
    metering::BillingQuery,
    operations::OperationsQuery,
    access::AccessQuery,
    audit::AuditQuery,
    evidence::EvidenceQuery,
    retention::RetentionQuery,
    installation::InstallationQuery,
);

/// Everything that can be done: one field for each command, noun first.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    identity::IdentityMutation,
    tenancy::TenancyMutation,
    catalogue::CatalogueMutation,
    rates::RatesMutation,
    credits::CreditMutation,
    commerce::CommerceMutation,
    metering::MeteringMutation,
    operations::OperationsMutation,
    access::AccessMutation,
    retention::RetentionMutation,
    installation::InstallationMutation,
);

pub(crate) type Schema = LibrarySchema<Query, Mutation, EmptySubscription>;

/// The schema. What it may be asked is bounded by [`limits`], which knows it by its text.
pub(crate) fn schema() -> Schema {
    LibrarySchema::build(Query::default(), Mutation::default(), EmptySubscription)
        .with_sorted_fields()
        .with_sorted_enums()
        .finish()
}

/// The schema as text, sorted.
#[must_use]
pub fn sdl() -> String {
    text_of(&schema())
}

fn text_of(schema: &Schema) -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .prefer_single_line_descriptions();
    schema.sdl_with_options(options)
}

/// The request that a resolver serves.
pub(crate) fn asking<'a>(ctx: &Context<'a>) -> Result<&'a Asking, Problem> {
    let asking = ctx.data::<Arc<Asking>>();
    asking.map(|it| &**it).map_err(|_| Problem::fault("a resolver ran outside of a request"))
}

/// A position as it is shown.
fn shown(asking: &Asking, position: Position) -> LogPosition {
    LogPosition { log: asking.services.log_id, position }
}
