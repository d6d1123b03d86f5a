//! The one-time link of the first administrator.
//!
//! While nobody administers, every start prints a new link and the one before stops working. The
//! token is random, holds for a day, and the log has only its hash.

use super::StartError;
use commands::{AccessCommand, Caller, Executor, Failure, Refusal, Request, new_command_id};
use data_encoding::BASE64URL_NOPAD;
use domain::identity::api_key::hash_secret;
use domain::installation::{self, Installation};
use domain::{Aggregate, Event};
use event_log::StreamId;

/// For how long a link holds.
const HOURS: i64 = 24;

/// Issues a link when nobody administers yet; answers its token.
pub(super) async fn issue_where_needed(executor: &Executor) -> Result<Option<String>, StartError> {
    if has_administrator(executor).await? {
        return Ok(None);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    let token = BASE64URL_NOPAD.encode(&bytes);
    let expires_at = executor.clock().now() + chrono::TimeDelta::hours(HOURS);
    let issue = AccessCommand::SetupLinkIssue { token_hash: hash_secret(&token), expires_at };
    let request = Request {
        command_id: new_command_id(),
        caller: Caller::system("server"),
        expected_version: None,
        command: issue.into(),
    };
    match executor.execute(request).await {
        Ok(_) => Ok(Some(token)),
        // Another process was set up in this very moment.
        Err(Failure::Refused(Refusal::Installation(installation::Refusal::AlreadyDone))) => {
            Ok(None)
        }
        Err(failure) => Err(StartError::SetupLink(failure)),
    }
}

/// Whether the installation has a first administrator.
pub(crate) async fn has_administrator(executor: &Executor) -> Result<bool, StartError> {
    let history = |error| StartError::History(error);
    let stream = StreamId::parse(Installation::KIND).map_err(|e| history(e.into()))?;
    let log = executor.log();
    let mut state = Installation::default();
    for recorded in log.read_stream(&stream, 0, None).await.map_err(StartError::Log)? {
        let (name, version) = (&recorded.type_name, recorded.schema_version);
        let event = Event::decode(name, version, &recorded.payload);
        let event = event.map_err(|error| history(error.into()))?;
        let event = installation::Event::try_from(event).map_err(|error| history(error.into()))?;
        state = state.evolve(&event);
    }
    Ok(state.administrator.is_some())
}
