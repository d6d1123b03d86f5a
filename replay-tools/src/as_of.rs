//! `as-of`: what one thing was at a moment, folded from its own events up to there.

use crate::moment::{Moment, printed, resolve};
use crate::output::Out;
use crate::thing::{Folded, Kind, Thing};
use crate::{Failure, session};
use clap::Args;
use installation::{Installation, Place};
use serde_json::json;

/// What to show, and as of when.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay as-of organization acme
  opscenter-replay as-of credit-account acme --at 2026-12-01
  opscenter-replay as-of user usr_01… --at 1200
  opscenter-replay as-of model gpt-4o
  opscenter-replay as-of rate-card")]
pub(crate) struct Options {
    /// What kind of thing
    kind: Kind,
    /// Which one: an id; for organizations and their credit accounts also the slug, for services
    /// also the name. The rate card and the installation are the only ones of their kind
    id: Option<String>,
    /// As of this position (with it) or time (what was recorded at or before it); now by default
    #[arg(long, value_name = "TIME|POSITION")]
    at: Option<Moment>,
    /// Answer on one line
    #[arg(long)]
    json: bool,
}

/// Prints what the thing was.
///
/// # Errors
/// [`Failure::Usage`] when there was no such thing then.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let result = answer(&installation, options, out).await;
    installation.close().await;
    result
}

async fn answer(
    installation: &Installation,
    options: &Options,
    out: Out<'_>,
) -> Result<(), Failure> {
    let log = installation.log();
    let to = resolve(log, options.at).await?;
    let thing = Thing::find(installation, options.kind, options.id.as_deref(), to).await?;
    let folded = thing.fold(to, &mut |_, _| {}).await?;
    let Some(Folded { last, shown }) = folded else { return Err(thing.absent(to).await?) };
    let at = log.recorded_at(to).await?;
    let answer = json!({
        "stream": thing.stream(),
        "position": to,
        "recorded_at": at.map(printed),
        "version": last.stream_version,
        "changed": {
            "position": last.position,
            "recorded_at": printed(last.recorded_at),
            "type": last.type_name,
            "actor": last.actor,
        },
        "state": shown,
    });
    crate::history::settle(log).await;
    let text = if options.json {
        serde_json::to_string(&answer)?
    } else {
        serde_json::to_string_pretty(&answer)?
    };
    Ok(writeln!(out, "{text}")?)
}
