//! `as-of`: what one thing was at a moment, folded from its own events up to there.
//!
//! Every kind of thing has its state shown by a file of its context in `as_of/`. Personal data is
//! opened where the key is there; otherwise it is shown as sealed, or as erased. What proves who
//! somebody is (the hash of a key or of a setup link) is never shown.

mod access;
mod catalogue;
mod commerce;
mod identity;
mod operations;
mod tenancy;

use crate::history::{decode, settle, stream_page};
use crate::moment::{Moment, printed, resolve};
use crate::output::Out;
use crate::{Failure, organization, session};
use clap::{Args, ValueEnum};
use domain::events::OfAnotherKind;
use domain::values::{ApiKeyId, PurchaseId, UserId};
use domain::{Aggregate, Event, Personal};
use event_log::{EventLog, KeyRing, Opened, Position, Recorded, StreamId};
use installation::{Installation, Place};
use serde_json::{Map, Value, json};
use std::str::FromStr;
use uuid::Uuid;

const PAGE: i64 = 100;

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

/// The kinds of things that have a history of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    User,
    Organization,
    #[value(alias = "credit_account")]
    CreditAccount,
    Purchase,
    Service,
    Tier,
    #[value(alias = "add_on")]
    AddOn,
    #[value(alias = "credit_pack")]
    CreditPack,
    Meter,
    Model,
    #[value(alias = "rate_card")]
    RateCard,
    #[value(alias = "api_key")]
    ApiKey,
    Role,
    Installation,
}

/// A thing whose state can be shown.
trait Shown: Aggregate<Event: TryFrom<Event, Error = OfAnotherKind>> {
    /// The state as rules see it.
    fn show(&self) -> Value;

    /// Adds what an event tells beyond that, such as a name.
    fn note(_event: &Self::Event, _facts: &mut Map<String, Value>) {}
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
    let stream = stream_of(log, options.kind, options.id.as_deref(), to).await?;
    // Without the key, what is sealed stays sealed.
    let keys = installation.keys().ok();
    let fold = Fold { log, keys, stream, to };
    let answer = match options.kind {
        Kind::User => fold.of::<domain::identity::user::User>().await?,
        Kind::Organization => fold.of::<domain::tenancy::Organization>().await?,
        Kind::CreditAccount => fold.of::<domain::credits::Account>().await?,
        Kind::Purchase => fold.of::<domain::commerce::purchase::Purchase>().await?,
        Kind::Service => fold.of::<domain::operations::service::Service>().await?,
        Kind::Tier => fold.of::<domain::catalogue::tier::Tier>().await?,
        Kind::AddOn => fold.of::<domain::catalogue::add_on::AddOn>().await?,
        Kind::CreditPack => fold.of::<domain::catalogue::credit_pack::CreditPack>().await?,
        Kind::Meter => fold.of::<domain::catalogue::meter::Meter>().await?,
        Kind::Model => fold.of::<domain::catalogue::model::Model>().await?,
        Kind::RateCard => fold.of::<domain::catalogue::rate_card::RateCard>().await?,
        Kind::ApiKey => fold.of::<domain::identity::api_key::ApiKey>().await?,
        Kind::Role => fold.of::<domain::access::role::Role>().await?,
        Kind::Installation => fold.of::<domain::installation::Installation>().await?,
    };
    settle(log).await;
    let text = if options.json {
        serde_json::to_string(&answer)?
    } else {
        serde_json::to_string_pretty(&answer)?
    };
    Ok(writeln!(out, "{text}")?)
}

/// The stream of the thing that is meant.
async fn stream_of(
    log: &EventLog,
    kind: Kind,
    id: Option<&str>,
    to: Position,
) -> Result<StreamId, Failure> {
    let given = || {
        let name = kind.name();
        id.ok_or_else(|| Failure::Usage(format!("say which {name}: `as-of {name} ID`")))
    };
    let id = match kind {
        Kind::User => checked::<UserId>(given()?)?,
        Kind::Purchase => checked::<PurchaseId>(given()?)?,
        Kind::ApiKey => checked::<ApiKeyId>(given()?)?,
        Kind::Organization | Kind::CreditAccount => {
            organization::find(log, given()?, to).await?.id.to_string()
        }
        Kind::Service => operations::find(log, given()?, to).await?.to_string(),
        Kind::Tier | Kind::AddOn | Kind::CreditPack | Kind::Meter | Kind::Model | Kind::Role => {
            given()?.to_owned()
        }
        Kind::RateCard => id.unwrap_or("default").to_owned(),
        Kind::Installation => {
            return StreamId::parse("installation")
                .map_err(|error| Failure::Usage(error.to_string()));
        }
    };
    session::stream(&kind.name().replace('-', "_"), &id)
}

fn checked<T: FromStr<Err: std::fmt::Display>>(id: &str) -> Result<String, Failure> {
    id.parse::<T>().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(id.to_owned())
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A fold about to be done.
struct Fold<'a> {
    log: &'a EventLog,
    keys: Option<&'a KeyRing>,
    stream: StreamId,
    to: Position,
}

impl Fold<'_> {
    async fn of<A: Shown>(self) -> Result<Value, Failure> {
        let (mut state, mut facts, mut last) = (A::default(), Map::new(), None);
        let mut after = 0;
        loop {
            let mut page = stream_page(self.log, &self.stream, after, self.to, PAGE).await?;
            for recorded in &page {
                let event = self.opened(recorded).await?;
                let event = A::Event::try_from(event).map_err(|error| {
                    Failure::Problem(format!("position {}: {error}", recorded.position))
                })?;
                A::note(&event, &mut facts);
                state = state.evolve(&event);
            }
            let Some(newest) = page.pop() else { break };
            after = newest.stream_version.unwrap_or(i64::MAX);
            last = Some(newest);
        }
        let Some(last) = last else { return Err(self.absent().await?) };
        let mut shown = state.show();
        if let Value::Object(fields) = &mut shown {
            fields.append(&mut facts);
        }
        let at = self.log.recorded_at(self.to).await?;
        Ok(json!({
            "stream": self.stream,
            "position": self.to,
            "recorded_at": at.map(printed),
            "version": last.stream_version,
            "changed": {
                "position": last.position,
                "recorded_at": printed(last.recorded_at),
                "type": last.type_name,
                "actor": last.actor,
            },
            "state": shown,
        }))
    }

    async fn absent(&self) -> Result<Failure, Failure> {
        let later = stream_page(self.log, &self.stream, 0, Position(i64::MAX), 1).await?;
        let begins = later.first().map_or_else(
            || format!("there never was a stream {}", self.stream),
            |first| {
                let (begun, at) = (first.position, printed(first.recorded_at));
                format!("{} begins at position {begun}, recorded {at}", self.stream)
            },
        );
        Ok(Failure::Usage(format!("nothing to show as of position {}: {begins}", self.to)))
    }

    /// The event with its personal data open where the key is there.
    async fn opened(&self, recorded: &Recorded) -> Result<Event, Failure> {
        let mut event = decode(recorded)?;
        let Some(keys) = self.keys else { return Ok(event) };
        for (subject, personal) in event.personal_fields() {
            let Personal::Sealed(sealed) = &*personal else { continue };
            // People belong to the platform, whichever organizations they are members of.
            let opened = keys.unseal(Uuid::nil(), subject, sealed).await;
            *personal = match opened {
                Ok(Opened::Erased) => Personal::Erased,
                Ok(Opened::Clear(text)) => Personal::Clear(String::from_utf8_lossy(&text).into()),
                Err(error) => {
                    return Err(Failure::Problem(format!(
                        "position {}: {error}",
                        recorded.position
                    )));
                }
            };
        }
        Ok(event)
    }
}

/// Personal data as it is shown.
fn personal(field: &Personal) -> Value {
    match field {
        Personal::Clear(text) => json!(text),
        Personal::Sealed(_) => json!({ "sealed": true }),
        Personal::Erased => json!({ "erased": true }),
    }
}
