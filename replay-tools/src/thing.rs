//! One thing with a history of its own, folded from its own events up to a moment: what `as-of`
//! and `diff` have in common.
//!
//! Every kind of thing has its state shown by a file of its context in `thing/`. Personal data is
//! opened where the key is there; otherwise it is shown as sealed, or as erased. What proves who
//! somebody is (the hash of a key or of a setup link) is never shown. Snapshots are never used: the
//! answer rests on the log alone.

mod access;
mod catalogue;
mod commerce;
mod identity;
mod operations;
mod tenancy;

use crate::history::{decode, stream_page};
use crate::moment::printed;
use crate::{Failure, organization, session};
use clap::ValueEnum;
use domain::events::OfAnotherKind;
use domain::values::{ApiKeyId, PurchaseId, UserId};
use domain::{Aggregate, Event, Personal};
use event_log::{EventLog, KeyRing, Opened, Position, Recorded, StreamId};
use installation::Installation;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use uuid::Uuid;

const PAGE: i64 = 100;

/// The kinds of things that have a history of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
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

/// The stream of the thing that is meant.
async fn stream_of(
    log: &EventLog,
    kind: Kind,
    id: Option<&str>,
    to: Position,
) -> Result<StreamId, Failure> {
    let given = || {
        let name = kind.name();
        id.ok_or_else(|| Failure::Usage(format!("say which {name}: `{name} ID`")))
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

/// What a thing's events add up to.
pub(crate) struct Folded {
    /// The last event of it.
    pub(crate) last: Recorded,
    /// Its state, and what events tell beyond that.
    pub(crate) shown: Value,
}

/// Told of every event with a way to see the state that it led to.
pub(crate) type Seen<'a> = &'a mut (dyn FnMut(&Recorded, &dyn Fn() -> Value) + Send);

/// A thing that is meant.
pub(crate) struct Thing<'a> {
    log: &'a EventLog,
    keys: Option<&'a KeyRing>,
    kind: Kind,
    stream: StreamId,
}

impl<'a> Thing<'a> {
    /// The thing that had this id, or another name that people know it by, at a position.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there was none.
    pub(crate) async fn find(
        installation: &'a Installation,
        kind: Kind,
        id: Option<&str>,
        at: Position,
    ) -> Result<Self, Failure> {
        let log = installation.log();
        let stream = stream_of(log, kind, id, at).await?;
        // Without the key, what is sealed stays sealed.
        Ok(Self { log, keys: installation.keys().ok(), kind, stream })
    }

    /// Where its history is.
    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// What it was at a position; none when it had no events yet.
    ///
    /// # Errors
    /// When the log does not answer, or holds what this program cannot read.
    pub(crate) async fn fold(
        &self,
        to: Position,
        seen: Seen<'_>,
    ) -> Result<Option<Folded>, Failure> {
        match self.kind {
            Kind::User => self.of::<domain::identity::user::User>(to, seen).await,
            Kind::Organization => self.of::<domain::tenancy::Organization>(to, seen).await,
            Kind::CreditAccount => self.of::<domain::credits::Account>(to, seen).await,
            Kind::Purchase => self.of::<domain::commerce::purchase::Purchase>(to, seen).await,
            Kind::Service => self.of::<domain::operations::service::Service>(to, seen).await,
            Kind::Tier => self.of::<domain::catalogue::tier::Tier>(to, seen).await,
            Kind::AddOn => self.of::<domain::catalogue::add_on::AddOn>(to, seen).await,
            Kind::CreditPack => {
                self.of::<domain::catalogue::credit_pack::CreditPack>(to, seen).await
            }
            Kind::Meter => self.of::<domain::catalogue::meter::Meter>(to, seen).await,
            Kind::Model => self.of::<domain::catalogue::model::Model>(to, seen).await,
            Kind::RateCard => self.of::<domain::catalogue::rate_card::RateCard>(to, seen).await,
            Kind::ApiKey => self.of::<domain::identity::api_key::ApiKey>(to, seen).await,
            Kind::Role => self.of::<domain::access::role::Role>(to, seen).await,
            Kind::Installation => self.of::<domain::installation::Installation>(to, seen).await,
        }
    }

    async fn of<A: Shown>(&self, to: Position, seen: Seen<'_>) -> Result<Option<Folded>, Failure> {
        let (mut state, mut facts, mut last) = (A::default(), Map::new(), None);
        let mut after = 0;
        loop {
            let mut page = stream_page(self.log, &self.stream, after, to, PAGE).await?;
            for recorded in &page {
                let event = self.opened(recorded).await?;
                let event = A::Event::try_from(event).map_err(|error| {
                    Failure::Problem(format!("position {}: {error}", recorded.position))
                })?;
                A::note(&event, &mut facts);
                state = state.evolve(&event);
                seen(recorded, &|| shown(&state, &facts));
            }
            let Some(newest) = page.pop() else { break };
            after = newest.stream_version.unwrap_or(i64::MAX);
            last = Some(newest);
        }
        Ok(last.map(|last| Folded { last, shown: shown(&state, &facts) }))
    }

    /// Why there is nothing to show as of a position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn absent(&self, to: Position) -> Result<Failure, Failure> {
        let later = stream_page(self.log, &self.stream, 0, Position(i64::MAX), 1).await?;
        let begins = later.first().map_or_else(
            || format!("there never was a stream {}", self.stream),
            |first| {
                let (begun, at) = (first.position, printed(first.recorded_at));
                format!("{} begins at position {begun}, recorded {at}", self.stream)
            },
        );
        Ok(Failure::Usage(format!("nothing to show as of position {to}: {begins}")))
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

fn shown<A: Shown>(state: &A, facts: &Map<String, Value>) -> Value {
    let mut shown = state.show();
    if let Value::Object(fields) = &mut shown {
        fields.extend(facts.clone());
    }
    shown
}

/// Personal data as it is shown.
fn personal(field: &Personal) -> Value {
    match field {
        Personal::Clear(text) => json!(text),
        Personal::Sealed(_) => json!({ "sealed": true }),
        Personal::Erased => json!({ "erased": true }),
    }
}
