//! Erasures: what was asked for is carried out and recorded as done.
//!
//! A person's key is destroyed after the request is on disk and before the record of it. Whoever
//! dies in between leaves a request without a record, and the reactions, which move on only after
//! this was done, do it again: destroying a key twice is destroying it once, and the record has an
//! id that follows from the person.

use crate::caller::Caller;
use crate::command::AccessCommand;
use crate::executor::{Executor, Request};
use crate::failure::Failure;
use crate::ids::flow_command_id;
use crate::loader::stream_of;
use domain::Event;
use domain::identity::user::{Event as UserEvent, User};
use domain::values::UserId;
use uuid::Uuid;

/// In whose name erasures are finished.
const NAME: &str = "flow.erasures";

/// Whose erasure an event asks for.
pub(super) const fn asked_by(event: &Event) -> Option<UserId> {
    match event {
        Event::User(UserEvent::UserErasureRequested(request)) => Some(request.user_id),
        Event::User(_)
        | Event::CreditAccount(_)
        | Event::Organization(_)
        | Event::Purchase(_)
        | Event::Usage(_)
        | Event::ApiKey(_)
        | Event::Role(_)
        | Event::Tier(_)
        | Event::AddOn(_)
        | Event::CreditPack(_)
        | Event::Meter(_)
        | Event::Model(_)
        | Event::RateCard(_)
        | Event::Service(_)
        | Event::Installation(_)
        | Event::Security(_)
        | Event::LegalHold(_)
        | Event::Retention(_)
        | Event::Purged(_) => None,
    }
}

/// Destroys the key of somebody whose erasure was asked for, and records it.
pub(crate) async fn carry_out(executor: &Executor, user_id: UserId) -> Result<(), Failure> {
    executor.keys().erase(Uuid::nil(), user_id.uuid()).await?;
    // Kept states have nothing of a person in the clear, and need not have anything at all.
    executor.log().drop_snapshots(&stream_of::<User>(&user_id.to_string())?).await?;
    let request = Request {
        command_id: flow_command_id(NAME, 0, &user_id.to_string()),
        caller: Caller::system(NAME),
        expected_version: None,
        command: AccessCommand::PersonErasureFinish { user_id }.into(),
    };
    executor.execute_quietly(&request).await.map(|_| ())
}
