//! `rebuild`: derives read models again from the log, beside the live ones, compares byte for byte
//! at the same position, and lets readers see the new rows when they are equal.
//!
//! The only tool that writes, and it writes read models only. A difference is a problem to be
//! looked at, not to be covered: the live rows stay until somebody says `--replace`. What is going
//! on, also in other processes, is listed by `--status`; `--roll-back` shows readers the generation
//! before again.

mod status;

use crate::Failure;
use crate::output::{Out, progress, thousands};
use clap::Args;
use installation::{Access, Installation, Place};
use projections::rebuild::{Comparison, Promote, RebuildError, Rebuilt, rebuild, roll_back};
use projections::{Definition, definitions, install};
use serde_json::{Value, json};
use std::time::Duration;

/// Which read models, and what happens with the new rows.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay rebuild usage --dry-run
  opscenter-replay rebuild bill credit_statement
  opscenter-replay rebuild --all
  opscenter-replay rebuild --status
  opscenter-replay rebuild usage --roll-back")]
pub(crate) struct Options {
    /// The read models by name; an unknown name is answered with the list
    #[arg(
        value_name = "NAME",
        required_unless_present_any = ["all", "status"],
        conflicts_with = "all"
    )]
    names: Vec<String>,
    /// Every read model
    #[arg(long)]
    all: bool,
    /// Build and compare only; the new rows are thrown away
    #[arg(long)]
    dry_run: bool,
    /// Let readers see the new rows even where they differ from the live ones
    #[arg(long, conflicts_with = "dry_run")]
    replace: bool,
    /// Only list every generation: its state, how far it is, how fast, since when
    #[arg(long, conflicts_with_all = ["dry_run", "replace", "roll_back"])]
    status: bool,
    /// Let readers see the generation before the live one again
    #[arg(long, conflicts_with_all = ["dry_run", "replace"])]
    roll_back: bool,
    /// Answer with one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Rebuilds and says how the new rows compare.
///
/// # Errors
/// [`Failure::Problem`] when rows differ from the live ones.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let chosen = chosen(options)?;
    if options.status {
        return status::run(place, &chosen, options.json, out).await;
    }
    let installation = Installation::open(place, Access::Derive).await?;
    let result = if options.roll_back {
        all_back(&installation, options, &chosen, out).await
    } else {
        all(&installation, options, &chosen, out).await
    };
    installation.close().await;
    result
}

fn chosen(options: &Options) -> Result<Vec<Definition>, Failure> {
    let known = definitions();
    if options.all || (options.status && options.names.is_empty()) {
        return Ok(known);
    }
    let find = |name: &String| {
        known.iter().find(|definition| definition.name == name.as_str()).copied().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|definition| definition.name).collect();
            let names = names.join(", ");
            Failure::Usage(format!("there is no read model {name:?}; there are {names}"))
        })
    };
    options.names.iter().map(find).collect()
}

async fn all(
    installation: &Installation,
    options: &Options,
    chosen: &[Definition],
    out: Out<'_>,
) -> Result<(), Failure> {
    let promote = match (options.dry_run, options.replace) {
        (true, _) => Promote::Never,
        (false, false) => Promote::IfEqual,
        (false, true) => Promote::Always,
    };
    // Without a server nobody may have made their tables yet.
    if !options.dry_run {
        install(installation.pool(), &definitions()).await?;
    } else if !are_made(installation).await? {
        return Err(Failure::Usage(
            "there are no read models yet to compare with; start the server once, or rebuild \
             without --dry-run"
                .to_owned(),
        ));
    }
    let mut different = Vec::new();
    for definition in chosen {
        let rebuilt = one(installation, definition, promote).await?;
        if options.json {
            writeln!(out, "{}", described(&rebuilt))?;
        } else {
            print(&rebuilt, options.dry_run, out)?;
        }
        out.flush()?;
        if matches!(rebuilt.comparison, Comparison::Different(_)) && !rebuilt.promoted {
            different.push(rebuilt.name);
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    Err(Failure::Problem(format!(
        "the live rows of {} are not what the log says; look at the difference, then rebuild with \
         --replace",
        different.join(", ")
    )))
}

async fn all_back(
    installation: &Installation,
    options: &Options,
    chosen: &[Definition],
    out: Out<'_>,
) -> Result<(), Failure> {
    for definition in chosen {
        let name = definition.name;
        let generation = roll_back(installation.log(), definition)
            .await
            .map_err(|source| failed(format!("{name} cannot go back"), source))?;
        if options.json {
            writeln!(out, "{}", json!({ "name": name, "generation": generation }))?;
        } else {
            writeln!(out, "{name:<18} readers see generation {generation} again")?;
        }
        out.flush()?;
    }
    Ok(())
}

fn failed(what: String, source: RebuildError) -> Failure {
    Failure::Rebuild { what, source: Box::new(source) }
}

async fn are_made(installation: &Installation) -> Result<bool, Failure> {
    let sql = "select to_regclass('read_model.projection') is not null";
    Ok(sqlx::query_scalar(sql).fetch_one(installation.pool()).await?)
}

async fn one(
    installation: &Installation,
    definition: &Definition,
    promote: Promote,
) -> Result<Rebuilt, Failure> {
    let log = installation.log();
    let bar = progress(log.head().await?.0, "events");
    let drawn = bar.clone();
    let mut watch = move |at: event_log::Position, to: event_log::Position| {
        drawn.set_length(u64::try_from(to.0).unwrap_or_default());
        drawn.set_position(u64::try_from(at.0).unwrap_or_default());
    };
    let rebuilt = rebuild(log, definition, promote, &mut watch).await;
    bar.finish_and_clear();
    rebuilt.map_err(|source| failed(format!("{} cannot be rebuilt", definition.name), source))
}

fn rate(rebuilt: &Rebuilt) -> u64 {
    let events = u128::try_from(rebuilt.position.0).unwrap_or_default();
    let micros = (rebuilt.folding + rebuilt.writing).as_micros().max(1);
    u64::try_from(events * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:03} s", duration.as_secs(), duration.subsec_millis())
}

fn print(rebuilt: &Rebuilt, dry_run: bool, out: Out<'_>) -> Result<(), Failure> {
    let rows = thousands(u64::try_from(rebuilt.rows).unwrap_or(u64::MAX));
    writeln!(
        out,
        "{:<18} {rows} rows from {} events ({} events/s; folded in {}, written in {})",
        rebuilt.name,
        thousands(u64::try_from(rebuilt.position.0).unwrap_or_default()),
        thousands(rate(rebuilt)),
        seconds(rebuilt.folding),
        seconds(rebuilt.writing),
    )?;
    match &rebuilt.comparison {
        Comparison::Equal => writeln!(out, "  equal to the live rows, byte for byte")?,
        Comparison::Impossible(why) => writeln!(out, "  not compared: {why}")?,
        Comparison::Different(difference) => {
            let row = |row: &Option<String>| row.clone().unwrap_or_else(|| "no row".to_owned());
            writeln!(out, "  different, first in table {}", difference.table)?;
            writeln!(out, "    live     {}", row(&difference.live))?;
            writeln!(out, "    rebuilt  {}", row(&difference.rebuilt))?;
        }
    }
    let end = match (rebuilt.promoted, dry_run) {
        (true, _) => format!("readers see generation {} now", rebuilt.generation),
        (false, true) => "thrown away, as asked".to_owned(),
        (false, false) => "thrown away; readers see the live rows as before".to_owned(),
    };
    Ok(writeln!(out, "  {end}")?)
}

fn described(rebuilt: &Rebuilt) -> Value {
    let (comparison, detail) = match &rebuilt.comparison {
        Comparison::Equal => ("equal", Value::Null),
        Comparison::Impossible(why) => ("impossible", json!(why)),
        Comparison::Different(found) => (
            "different",
            json!({ "table": found.table, "live": found.live, "rebuilt": found.rebuilt }),
        ),
    };
    json!({
        "name": rebuilt.name,
        "generation": rebuilt.generation,
        "position": rebuilt.position,
        "rows": rebuilt.rows,
        "events_per_second": rate(rebuilt),
        "comparison": comparison,
        "detail": detail,
        "promoted": rebuilt.promoted,
    })
}
