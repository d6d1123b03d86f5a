//! Every event there is has been thought about.

use domain::Event;
use projections::{Takes, definitions};
use std::collections::BTreeSet;

/// Events that only the audit trail shows: what was refused, the installation's own set-up, and
/// holds and retention, which are rare and folded from their streams where they are asked for.
const OF_THE_AUDIT_TRAIL_ALONE: &[&str] = &[
    "bodies_purged",
    "command_denied",
    "command_refused",
    "legal_hold_placed",
    "legal_hold_released",
    "log_epoch_opened",
    "retention_policy_set",
    "setup_completed",
    "setup_link_issued",
];

#[test]
fn every_event_is_taken_by_a_read_model_or_is_named_here_as_one_that_is_not() {
    let takes = |name: &str| {
        let mut others = definitions().into_iter().map(|it| it.takes);
        others.any(|takes| matches!(takes, Takes::Of(_)) && takes.includes(name))
    };
    let names = Event::names().into_iter().map(|(name, _)| name);
    let untaken: BTreeSet<&str> = names.filter(|name| !takes(name)).collect();
    assert_eq!(untaken, OF_THE_AUDIT_TRAIL_ALONE.iter().copied().collect());
}

#[test]
fn exactly_the_audit_trail_takes_everything() {
    let everything = |it: &projections::Definition| matches!(it.takes, Takes::Everything);
    let names: Vec<&str> =
        definitions().iter().filter(|it| everything(it)).map(|it| it.name).collect();
    assert_eq!(names, ["audit_trail"]);
}

#[test]
fn no_two_read_models_share_a_name_or_a_table() {
    let definitions = definitions();
    let names: BTreeSet<&str> = definitions.iter().map(|it| it.name).collect();
    assert_eq!(names.len(), definitions.len());
    let tables: Vec<_> = definitions.iter().flat_map(|it| it.tables()).collect();
    let distinct: BTreeSet<&str> = tables.iter().map(|spec| spec.name).collect();
    assert_eq!(distinct.len(), tables.len());
}

#[test]
fn no_amount_is_kept_as_a_floating_point_number() {
    for spec in definitions().iter().flat_map(|it| it.tables()) {
        for (column, sql) in spec.columns {
            let inexact = ["float", "double", "real", "numeric"];
            assert!(!inexact.iter().any(|it| sql.contains(it)), "{}.{column}: {sql}", spec.name);
        }
    }
}
