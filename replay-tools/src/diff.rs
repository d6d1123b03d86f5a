//! `diff`: what changed between two moments, field by field: of one thing, folded from its own
//! events, or of a read model, folded into a copy that is thrown away.
//!
//! Of a field that changed several times the first and the last value are told, and the event that
//! changed it last. What changed and changed back is no difference.

mod fields;
mod model;
mod print;
mod thing;

use crate::moment::{Moment, printed, resolve};
use crate::output::Out;
use crate::thing::Kind;
use crate::{Failure, session};
use clap::{Args, ValueEnum};
use event_log::{EventLog, Position, Recorded};
use installation::{Installation, Place};
use serde_json::{Value, json};
use std::str::FromStr;

/// What to compare, and which moments.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Kinds of things: user, organization, credit-account, purchase, service, tier, add-on, credit-pack,
meter, model, rate-card, api-key, role, installation; and read-model.

Examples:
  opscenter-replay diff organization acme --from 2026-01-01 --to now
  opscenter-replay diff credit-account acme --from 1200 --to 1300
  opscenter-replay diff read-model credit_statement --organization acme --from 1200 --to 1300")]
pub(crate) struct Options {
    /// What kind of thing, or `read-model`
    what: What,
    /// Which one, as `as-of` takes it; the name of a read model
    id: Option<String>,
    /// The earlier moment: a position (with it) or a time (what was recorded at or before it)
    #[arg(long, value_name = "TIME|POSITION")]
    from: Moment,
    /// The later moment: a position, a time, or `now`
    #[arg(long, value_name = "TIME|POSITION|now", default_value = "now")]
    to: Until,
    /// Of a read model: only the rows of this organization, by id or slug
    #[arg(long, value_name = "ORG")]
    organization: Option<String>,
    /// Of a read model: how many events may be folded into the copy
    #[arg(long, value_name = "COUNT", default_value_t = 5_000_000)]
    max_events: u32,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// What has a past that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    ReadModel,
    Thing(Kind),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if ["read-model", "read_model"].contains(&text) {
            return Ok(Self::ReadModel);
        }
        Kind::from_str(text, false).map(Self::Thing).map_err(|_| {
            let kinds = Kind::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let kinds: Vec<String> = kinds.map(|kind| kind.get_name().to_owned()).collect();
            format!("there is no kind {text:?}; there are read-model, {}", kinds.join(", "))
        })
    }
}

/// A moment, or the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Until(Option<Moment>);

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" { Ok(Self(None)) } else { text.parse().map(|moment| Self(Some(moment))) }
    }
}

/// The event that a difference comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    position: Position,
    recorded_at: String,
    type_name: String,
    actor: String,
}

impl Cause {
    fn of(recorded: &Recorded) -> Self {
        Self {
            position: recorded.position,
            recorded_at: printed(recorded.recorded_at),
            type_name: recorded.type_name.clone(),
            actor: recorded.actor.clone(),
        }
    }
}

/// A field that the two moments do not have in common; without an old value it was added, without
/// a new one removed.
#[derive(Clone, Debug, PartialEq)]
struct Difference {
    path: String,
    old: Option<Value>,
    new: Option<Value>,
    cause: Option<Cause>,
}

/// What was compared, and what came of it.
struct Answer {
    /// The stream of a thing, or the name of a read model.
    of: String,
    from: Position,
    to: Position,
    /// How many events of it lie between the moments; not counted for a read model.
    events: Option<u64>,
    /// What has to be said beside the differences.
    remarks: Vec<String>,
    differences: Vec<Difference>,
}

/// Prints what changed.
///
/// # Errors
/// [`Failure::Usage`] when there was no such thing at the later moment, when the moments are in the
/// wrong order, or when a copy would take in more events than allowed.
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
    let from = resolve(log, Some(options.from)).await?;
    let to = resolve(log, options.to.0).await?;
    if from > to {
        return Err(Failure::Usage(format!(
            "--from is position {from} and --to is {to}, which comes before it; turn them round"
        )));
    }
    let answer = match options.what {
        What::Thing(_) if options.organization.is_some() => Err(Failure::Usage(
            "--organization is for read models; a thing is named by its id".to_owned(),
        )),
        What::Thing(kind) => {
            thing::compare_named(installation, kind, options.id.as_deref(), (from, to)).await
        }
        What::ReadModel => model::compare(log, options, (from, to)).await,
    }?;
    crate::history::settle(log).await;
    if options.json {
        return Ok(writeln!(out, "{}", described(log, &answer).await?)?);
    }
    print::print(log, &answer, out).await
}

async fn described(log: &EventLog, answer: &Answer) -> Result<Value, Failure> {
    let differences: Vec<Value> = answer.differences.iter().map(one).collect();
    Ok(json!({
        "of": answer.of,
        "from": moment(log, answer.from).await?,
        "to": moment(log, answer.to).await?,
        "events": answer.events,
        "remarks": answer.remarks,
        "differences": differences,
    }))
}

async fn moment(log: &EventLog, position: Position) -> Result<Value, Failure> {
    let at = log.recorded_at(position).await?;
    Ok(json!({ "position": position, "recorded_at": at.map(printed) }))
}

fn one(difference: &Difference) -> Value {
    let kind = match (&difference.old, &difference.new) {
        (None, _) => "added",
        (Some(_), None) => "removed",
        (Some(_), Some(_)) => "changed",
    };
    let cause = difference.cause.as_ref().map(|cause| {
        json!({
            "position": cause.position,
            "recorded_at": cause.recorded_at,
            "type": cause.type_name,
            "actor": cause.actor,
        })
    });
    json!({
        "path": difference.path,
        "kind": kind,
        "old": difference.old,
        "new": difference.new,
        "by": cause,
    })
}
