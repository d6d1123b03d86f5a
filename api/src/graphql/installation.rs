//! The installation itself: its first administrator, its log, its read models.

use super::access::new_key;
use super::identity::{User, user_of};
use super::outcome::{Asked, carry_out, payload};
use super::scalars::DateTime;
use super::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object, SimpleObject};
use commands::AccessCommand;
use domain::access::Resource;
use event_log::Position;
use projections::State;
use uuid::Uuid;

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
    let read_model = |it: projections::Standing| ReadModel {
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
