//! What one request reads through: who asks and may they, how new it has to be, and that nothing
//! leaves before it is on disk.
//!
//! * [`access`]: permission and scope, asked once each in a request.
//! * [`freshness`]: the read models that a request uses, and waiting for just those.
//! * [`loaders`]: what many rows of one answer point to, read together.
//! * [`history`]: things as they were, by folding one stream through the read model's own handler;
//!   lists as they were, from the versions of their rows.

mod access;
mod freshness;
mod history;
mod loaders;

pub(crate) use history::{AsOf, at_position, fold, version, view};

use crate::problem::{Code, Problem};
use commands::{Caller, Executor, Receipt};
use event_log::tree::keeper::Evidence;
use event_log::witness::Sealing;
use event_log::{EventLog, Position};
use freshness::Freshness;
use loaders::Loaders;
use projections::Progress;
use sqlx::PgPool;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What every request of this server shares. Clones share everything.
#[derive(Clone)]
pub(crate) struct Services {
    /// Carries out commands and answers questions of access.
    pub(crate) executor: Executor,
    /// How far the read models are.
    pub(crate) progress: Progress,
    /// Tells this log's positions from another's.
    pub(crate) log_id: u32,
    /// What the log is signed with, where this server signs it.
    pub(crate) evidence: Option<Evidence>,
    /// How it is with the witnesses, where there are any.
    pub(crate) sealing: Option<Sealing>,
}

impl Services {
    pub(crate) fn log(&self) -> &EventLog {
        self.executor.log()
    }
}

/// One request, as resolvers see it.
pub(crate) struct Asking {
    pub(crate) services: Services,
    pub(crate) caller: Caller,
    pub(crate) loaders: Loaders,
    freshness: Freshness,
    permits: access::Permits,
    written: AtomicI64,
    has_read: AtomicBool,
}

impl Asking {
    /// A request of a caller who wants to see at least what is recorded up to a position.
    pub(crate) fn new(services: Services, caller: Caller, at_least: Option<Position>) -> Self {
        Self {
            loaders: Loaders::new(services.log().pool()),
            services,
            caller,
            freshness: Freshness::new(at_least),
            permits: access::Permits::default(),
            written: AtomicI64::new(0),
            has_read: AtomicBool::new(false),
        }
    }

    /// The connections that a read model is read through, once it is as new as was asked.
    pub(crate) async fn model(&self, name: &'static str) -> Result<&PgPool, Problem> {
        self.has_read.store(true, Ordering::Relaxed);
        self.freshness.use_model(&self.services.progress, name).await?;
        Ok(self.services.log().pool())
    }

    /// The same for what this very request recorded.
    pub(crate) async fn model_after(
        &self,
        name: &'static str,
        position: Position,
    ) -> Result<&PgPool, Problem> {
        self.has_read.store(true, Ordering::Relaxed);
        freshness::wait(&self.services.progress, name, position).await?;
        Ok(self.services.log().pool())
    }

    /// Something was read from the log itself.
    pub(crate) fn log(&self) -> &EventLog {
        self.has_read.store(true, Ordering::Relaxed);
        self.services.log()
    }

    /// A refusal or a verdict was decided on what is there.
    pub(crate) fn note_read(&self) {
        self.has_read.store(true, Ordering::Relaxed);
    }

    /// A command took effect; that it did is on disk.
    pub(crate) fn note_receipt(&self, receipt: &Receipt) {
        self.written.fetch_max(receipt.position.0, Ordering::Relaxed);
    }

    /// Returns once everything that the answer can derive from is on disk, with the position that
    /// the answer is complete up to.
    pub(crate) async fn settle(&self) -> Result<Position, Problem> {
        let written = Position(self.written.load(Ordering::Relaxed));
        if !self.has_read.load(Ordering::Relaxed) {
            return Ok(written);
        }
        let head = self.services.log().settle().await?;
        Ok(self.freshness.complete_up_to().await.unwrap_or(head))
    }

    /// Which read models were used, and how far each was.
    pub(crate) async fn models_used(&self) -> Vec<(&'static str, Position)> {
        self.freshness.used().await
    }

    /// Opens what is sealed with a person's key.
    pub(crate) async fn open_personal(
        &self,
        user_id: domain::values::UserId,
        personal: &domain::Personal,
    ) -> Result<Option<String>, Problem> {
        let sealed = match personal {
            domain::Personal::Clear(text) => return Ok(Some(text.clone())),
            domain::Personal::Erased => return Ok(None),
            domain::Personal::Sealed(sealed) => sealed,
        };
        let keys = self.services.executor.keys();
        text_of(keys.unseal(uuid::Uuid::nil(), user_id.uuid(), sealed).await?)
    }

    /// Opens an item of a person's vault.
    pub(crate) async fn open_kept(
        &self,
        user_id: domain::values::UserId,
        item: event_log::VaultItem,
    ) -> Result<Option<String>, Problem> {
        let keys = self.services.executor.keys();
        text_of(keys.look_up(uuid::Uuid::nil(), user_id.uuid(), item).await?)
    }
}

/// What was sealed, as text; none once the person was erased.
fn text_of(opened: event_log::Opened) -> Result<Option<String>, Problem> {
    match opened {
        event_log::Opened::Erased => Ok(None),
        event_log::Opened::Clear(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Problem::fault("sealed personal data that is no text")),
    }
}

/// A position that was handed in is one of this log.
pub(crate) fn own_position(
    services: &Services,
    given: crate::graphql::LogPosition,
    field: &str,
) -> Result<Position, Problem> {
    if given.log == services.log_id {
        return Ok(given.position);
    }
    let message = "the position is of another log; take it from an answer of this one";
    Err(Problem { field: Some(field.to_owned()), ..Problem::new(Code::BadUserInput, message) })
}
