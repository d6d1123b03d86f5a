//! The installation itself: its first administrator, its log, its read models.

use super::access::new_key;
use super::identity::{User, user_of};
use super::outcome::{Asked, carry_out, payload};
use super::scalars::{DateTime, SafeInt};
use super::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use commands::AccessCommand;
use domain::access::Resource;
use event_log::Position;
use projections::State;
use uuid::Uuid;

/// What is happening to a generation of a read model.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "State")]
pub(crate) enum ReadModelState {
    /// It is made from the beginning of the log.
    Building,
    /// It has its rows, and takes in what was recorded meanwhile.
    CatchingUp,
    /// It is as far as the live one, and is compared with it.
    Ready,
    /// Readers see it, and it follows the log.
    Live,
    /// Readers see it, and it stands still before an event.
    Stopped,
    /// Another took its place; kept for going back.
    Retired,
}

/// A generation of a read model: in the making, live, or kept for going back.
#[derive(SimpleObject)]
pub(crate) struct ReadModelGeneration {
    /// 1, 2, 3, …
    generation: i32,
    /// What is happening to it.
    state: ReadModelState,
    /// It has taken in every event up to here.
    position: LogPosition,
    /// Where it goes, while somebody works on it.
    target: Option<LogPosition>,
    /// How many events a second it takes in, while somebody works on it.
    events_per_second: Option<SafeInt>,
    /// When it was begun.
    begun_at: DateTime,
    /// Whoever made it is gone: the next rebuild cleans up.
    is_abandoned: bool,
}

/// How a read model stands.
#[derive(SimpleObject)]
pub(crate) struct ReadModel {
    /// Its name.
    name: String,
    /// 1, 2, 3, …: every change of how it is made begins a new one.
    generation: i32,
    /// Whether it follows the log; else it stands still and needs an operator.
    is_live: bool,
    /// It has taken in every event up to here.
    position: LogPosition,
    /// Why it stands still.
    error: Option<String>,
    /// Every generation there is: in the making, live, and kept for going back.
    generations: Vec<ReadModelGeneration>,
}

/// The installation.
#[derive(SimpleObject)]
pub(crate) struct Installation {
    /// The version of the program.
    version: &'static str,
    /// The last event of the log.
    head: LogPosition,
    /// When the first event was recorded.
    since: Option<DateTime>,
    /// How the read models stand.
    read_models: Vec<ReadModel>,
}

#[derive(Default)]
pub(crate) struct InstallationQuery;

#[Object]
impl InstallationQuery {
    /// The installation: its version, its log, its read models.
    async fn installation(&self, ctx: &Context<'_>) -> Result<Installation, Problem> {
        installation(asking(ctx)?).await
    }
}

async fn installation(asking: &Asking) -> Result<Installation, Problem> {
    asking.may_read(Resource::Settings).await?;
    let log = asking.log();
    let standings = asking.services.progress.standings().await;
    let standings = standings.map_err(|error| Problem::unavailable(&error))?;
    let all = projections::generations(log.pool()).await;
    let all = all.map_err(|error| Problem::unavailable(&error))?;
    let generation = |it: &projections::Generation| ReadModelGeneration {
        generation: it.generation,
        state: it.state.into(),
        position: shown(asking, it.position),
        target: it.target.map(|target| shown(asking, target)),
        events_per_second: it.events_per_second.map(SafeInt),
        begun_at: DateTime(it.begun_at),
        is_abandoned: it.is_abandoned,
    };
    let read_model = |it: projections::Standing| ReadModel {
        generations: all.iter().filter(|of| of.name == it.name).map(generation).collect(),
        generation: it.generation,
        is_live: it.state == State::Live,
        position: shown(asking, it.position),
        error: it.error,
        name: it.name,
    };
    Ok(Installation {
        version: env!("CARGO_PKG_VERSION"),
        head: shown(asking, log.head().await?),
        since: log.recorded_at(Position(1)).await?.map(DateTime),
        read_models: standings.into_iter().map(read_model).collect(),
    })
}

payload! {
    /// What became of the set-up.
    SetupPayload {
        /// The first administrator; null until whoever asks uses the new key.
        user: User = user_of
    }
    shows
        /// The administrator's first API key, shown once.
        printed_key
}

/// The set-up link's token and who the first administrator is.
#[derive(InputObject)]
struct SetupCompleteInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The last part of the set-up link.
    token: String,
    /// E-mail address.
    email: String,
    /// Display name.
    name: String,
}

#[derive(Default)]
pub(crate) struct InstallationMutation;

#[Object]
impl InstallationMutation {
    /// Uses the one-time set-up link: makes the first administrator and a first key.
    async fn setup_complete(
        &self,
        ctx: &Context<'_>,
        input: SetupCompleteInput,
    ) -> Result<SetupPayload, Problem> {
        let (key, printed) = new_key()?;
        let SetupCompleteInput { command_id, token, email, name } = input;
        let complete = AccessCommand::SetupComplete { token, email, name, key: Some(key) };
        let answer = carry_out(ctx, Asked::once(command_id), complete).await?;
        Ok(SetupPayload(answer.with_secret(printed)))
    }
}
