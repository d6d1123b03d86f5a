//! A read model at two moments: rows of a copy in memory that is folded from the log and thrown
//! away.

use super::fields::{compare_objects, text};
use super::{Answer, Cause, Options};
use crate::Failure;
use crate::history::at_positions;
use crate::organization;
use crate::output::{progress, thousands};
use event_log::{EventLog, Position};
use projections::rebuild::RebuildError;
use projections::{Between, Definition, RowChange, between, definitions};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How many rows a copy may have.
const ROWS_MAX: usize = 2_000_000;
/// How many events are looked up to tell where changes come from.
const CAUSES_MAX: usize = 2_000;
/// The column in which many read models keep the last event that changed a row.
const LAST_CHANGE: &str = "position";
const OWNER: &str = "organization_id";

pub(super) async fn compare(
    log: &EventLog,
    options: &Options,
    (from, to): (Position, Position),
) -> Result<Answer, Failure> {
    let definition = named(options.id.as_deref())?;
    if to.0 > i64::from(options.max_events) {
        return Err(Failure::Usage(too_many(to, options.max_events)));
    }
    let owner = match &options.organization {
        Some(name) => Some(organization::find(log, name, to).await?.id.to_string()),
        None => None,
    };
    let Between { changes, set_aside } = folded(log, definition, (from, to), owner).await?;
    let causes = causes(log, &changes, (from, to)).await?;
    let mut differences = Vec::new();
    for change in &changes {
        let cause = last_change(change).and_then(|position| causes.get(&position));
        let (path, before) = (path_of(change), change.before.as_ref());
        let fields = compare_objects(&path, before, change.after.as_ref()).into_iter();
        differences.extend(fields.map(|mut difference| {
            difference.cause = cause.cloned();
            difference
        }));
    }
    let mut remarks = Vec::new();
    if set_aside > 0 {
        remarks.push(format!(
            "{} events make no sense to this read model and are not in it",
            thousands(set_aside)
        ));
    }
    let of = format!("read model {}", definition.name);
    Ok(Answer { of, from, to, events: None, remarks, differences })
}

fn named(name: Option<&str>) -> Result<Definition, Failure> {
    let known = definitions();
    let names = || known.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    let Some(name) = name else {
        return Err(Failure::Usage(format!("say which read model; there are {}", names())));
    };
    let found = known.iter().find(|definition| definition.name == name).copied();
    found.ok_or_else(|| {
        Failure::Usage(format!("there is no read model {name:?}; there are {}", names()))
    })
}

fn too_many(to: Position, limit: u32) -> String {
    let (events, limit) = (to.0.unsigned_abs(), u64::from(limit));
    format!(
        "a copy of the read model would take in {} events, and {} are allowed; allow it with \
         --max-events {events}, or compare one thing, as in `diff credit-account ORG`",
        thousands(events),
        thousands(limit)
    )
}

async fn folded(
    log: &EventLog,
    definition: Definition,
    moments: (Position, Position),
    owner: Option<String>,
) -> Result<Between, Failure> {
    let wanted = |row: &Map<String, Value>| match &owner {
        None => true,
        Some(owner) => row.get(OWNER).and_then(Value::as_str) == Some(owner),
    };
    let bar = progress(moments.1.0, "events");
    let drawn = bar.clone();
    let mut watch = move |at: Position| drawn.set_position(u64::try_from(at.0).unwrap_or_default());
    let between = between(log, definition, moments, ROWS_MAX, &wanted, &mut watch).await;
    bar.finish_and_clear();
    between.map_err(|error| match error {
        RebuildError::TooLarge { rows, .. } => Failure::Usage(format!(
            "{} has more than {} rows, too many for a copy in memory; compare one thing, as in \
             `diff credit-account ORG`",
            definition.name,
            thousands(u64::try_from(rows).unwrap_or(u64::MAX))
        )),
        source @ (RebuildError::Handler { .. }
        | RebuildError::Unknown(_)
        | RebuildError::Busy(_)
        | RebuildError::NothingKept { .. }
        | RebuildError::Log(_)
        | RebuildError::Rows(_)) => Failure::Rebuild {
            what: format!("{} cannot be folded", definition.name),
            source: Box::new(source),
        },
    })
}

/// The event that a row says it was changed by.
fn last_change(change: &RowChange) -> Option<i64> {
    change.after.as_ref()?.get(LAST_CHANGE)?.as_i64()
}

async fn causes(
    log: &EventLog,
    changes: &[RowChange],
    (from, to): (Position, Position),
) -> Result<BTreeMap<i64, Cause>, Failure> {
    let mut positions: Vec<i64> = changes.iter().filter_map(last_change).collect();
    positions.retain(|position| (from.0 + 1..=to.0).contains(position));
    positions.sort_unstable();
    positions.dedup();
    positions.truncate(CAUSES_MAX);
    let events = at_positions(log, &positions).await?;
    Ok(events.iter().map(|event| (event.position.0, Cause::of(event))).collect())
}

fn path_of(change: &RowChange) -> String {
    let key: Vec<String> =
        change.key.iter().map(|(column, value)| format!("{column}={}", text(value))).collect();
    format!("{}[{}]", change.table, key.join(", "))
}
