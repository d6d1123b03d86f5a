//! `rebuild --status`: every generation of the read models, also those that another process makes.

use crate::moment::printed;
use crate::output::{Out, thousands};
use crate::{Failure, session};
use installation::{Installation, Place};
use projections::{Definition, Generation, generations};
use serde_json::{Value, json};

/// Lists what there is.
///
/// # Errors
/// [`Failure::Usage`] when no read model was ever made.
pub(super) async fn run(
    place: &Place,
    chosen: &[Definition],
    is_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let result = list(&installation, chosen, is_json, out).await;
    installation.close().await;
    result
}

async fn list(
    installation: &Installation,
    chosen: &[Definition],
    is_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let sql = "select to_regclass('read_model.generation') is not null";
    if !sqlx::query_scalar::<_, bool>(sql).fetch_one(installation.pool()).await? {
        let message = "there are no read models yet; start the server once, or rebuild one";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut all = generations(installation.pool()).await?;
    all.retain(|it| chosen.iter().any(|definition| definition.name == it.name));
    if !is_json {
        writeln!(
            out,
            "{:<18} {:>10}  {:<12} {:>13} {:>13} {:>9}  since",
            "read model", "generation", "state", "position", "target", "events/s"
        )?;
    }
    for generation in &all {
        if is_json {
            writeln!(out, "{}", described(generation))?;
        } else {
            print(generation, out)?;
        }
    }
    Ok(())
}

fn number(number: Option<i64>) -> String {
    let figure = number.and_then(|number| u64::try_from(number).ok());
    figure.map_or_else(String::new, thousands)
}

fn print(it: &Generation, out: Out<'_>) -> Result<(), Failure> {
    let state = it.state.as_str().replace('_', " ");
    writeln!(
        out,
        "{:<18} {:>10}  {state:<12} {:>13} {:>13} {:>9}  {}",
        it.name,
        it.generation,
        number(Some(it.position.0)),
        number(it.target.map(|target| target.0)),
        number(it.events_per_second),
        printed(it.begun_at),
    )?;
    if it.is_abandoned {
        writeln!(out, "  its maker is gone; the next rebuild of it cleans up")?;
    }
    if let Some(error) = &it.error {
        writeln!(out, "  {error}")?;
    }
    Ok(())
}

fn described(it: &Generation) -> Value {
    json!({
        "name": it.name,
        "generation": it.generation,
        "code_version": it.code_version,
        "state": it.state.as_str(),
        "position": it.position,
        "target": it.target,
        "events_per_second": it.events_per_second,
        "since": printed(it.begun_at),
        "is_abandoned": it.is_abandoned,
        "error": it.error,
    })
}
