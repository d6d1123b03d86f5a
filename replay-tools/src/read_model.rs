//! `read-model`: a whole read model as it was at a moment, folded for this question and thrown
//! away.
//!
//! It works for every read model and every moment, at the price of reading the log from its
//! beginning. How many events that are is counted first, and beyond a bound it is refused, with
//! what to say to allow it. Nothing is written. Personal data stays sealed.

use crate::moment::{Moment, resolve};
use crate::output::{Out, progress, thousands};
use crate::{Failure, session};
use clap::Args;
use event_log::{EventLog, Position};
use installation::{Installation, Place};
use projections::rebuild::{RebuildError, rows_at};
use projections::{Definition, definitions};
use serde_json::json;

/// Which read model, and as of when.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay read-model credit_statement --as-of 2026-12-01
  opscenter-replay read-model usage --as-of 1200 --table usage_hour
  opscenter-replay read-model audit_trail --max-events 20000000 > audit.jsonl")]
pub(crate) struct Options {
    /// The read model by name; an unknown name is answered with the list
    name: String,
    /// As of this position (with it) or time (what was recorded at or before it); now by default
    #[arg(long, value_name = "TIME|POSITION")]
    as_of: Option<Moment>,
    /// Only the rows of this table
    #[arg(long)]
    table: Option<String>,
    /// Refuse to fold more events than this
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000_000)]
    max_events: u64,
    /// Refuse to hold more rows than this in memory
    #[arg(long, value_name = "ROWS", default_value_t = 2_000_000)]
    max_rows: usize,
}

/// Prints the rows, each as one JSON object a line: `{"table": …, "row": …}`.
///
/// # Errors
/// [`Failure::Usage`] when there is no such read model, or it is more than allowed.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let definition = chosen(options)?;
    let installation = session::open(place).await?;
    let result = answer(&installation, options, &definition, out).await;
    installation.close().await;
    result
}

fn chosen(options: &Options) -> Result<Definition, Failure> {
    let known = definitions();
    let found = known.iter().find(|it| it.name == options.name).copied();
    let definition = found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|it| it.name).collect();
        let (name, names) = (&options.name, names.join(", "));
        Failure::Usage(format!("there is no read model {name:?}; there are {names}"))
    })?;
    let Some(table) = &options.table else { return Ok(definition) };
    let is_history = |name: &str| name.ends_with("_history");
    let tables = definition.tables().into_iter().map(|spec| spec.name);
    let tables: Vec<&str> = tables.filter(|name| !is_history(name)).collect();
    if !tables.contains(&table.as_str()) {
        let (name, tables) = (definition.name, tables.join(", "));
        return Err(Failure::Usage(format!("{name} has no table {table:?}; it has {tables}")));
    }
    Ok(definition)
}

async fn answer(
    installation: &Installation,
    options: &Options,
    definition: &Definition,
    out: Out<'_>,
) -> Result<(), Failure> {
    let log = installation.log();
    let to = resolve(log, options.as_of).await?;
    let events = count(log, definition, to, options.max_events).await?;
    if events > options.max_events {
        let (name, most) = (definition.name, thousands(options.max_events));
        let events = thousands(events);
        return Err(Failure::Usage(format!(
            "{name} as of position {to} would be folded from {events} events, more than {most}; \
             say --max-events {} to allow it",
            events.replace(',', "")
        )));
    }
    let bar = progress(to.0, "events");
    let drawn = bar.clone();
    let mut watch = move |at: Position, _: Position| {
        drawn.set_position(u64::try_from(at.0).unwrap_or_default());
    };
    let tables = rows_at(log, definition, to, options.max_rows, &mut watch).await;
    bar.finish_and_clear();
    let tables = tables.map_err(|source| failed(definition, source))?;
    for (table, rows) in tables {
        if options.table.as_deref().is_some_and(|only| only != table) {
            continue;
        }
        for row in rows {
            writeln!(out, "{}", json!({ "table": table, "row": row }))?;
        }
    }
    Ok(())
}

fn failed(definition: &Definition, source: RebuildError) -> Failure {
    let what = match &source {
        RebuildError::TooLarge { limit, .. } => {
            let rows = limit.saturating_mul(4);
            format!("{} does not fit; say --max-rows {rows} to allow more", definition.name)
        }
        RebuildError::Handler { .. }
        | RebuildError::Unknown(_)
        | RebuildError::Busy(_)
        | RebuildError::NothingKept { .. }
        | RebuildError::Log(_)
        | RebuildError::Rows(_) => format!("{} cannot be folded", definition.name),
    };
    Failure::Rebuild { what, source: Box::new(source) }
}

/// How many events the fold reads.
async fn count(
    log: &EventLog,
    definition: &Definition,
    to: Position,
    most: u64,
) -> Result<u64, Failure> {
    let all = u64::try_from(to.0).unwrap_or_default();
    let Some(names) = definition.takes.names() else { return Ok(all) };
    // Where even all events together are few enough, nothing need be counted.
    if all <= most {
        return Ok(all);
    }
    let sql = "select count(*) from event_log.log where position <= $1 and type = any($2)";
    let query = sqlx::query_scalar(sql).bind(to).bind(names);
    let count: i64 = query.fetch_one(log.pool()).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
