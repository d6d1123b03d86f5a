//! An installation that one command line works on, beside a running server or without one.

use super::end::Stopped;
use super::progress::{Counts, bar};
use commands::flows::{self, charging, reactions};
use commands::{Executor, Failure, SystemClock};
use domain::{Aggregate, Event, OfAnotherKind};
use event_log::tree::keeper::{Keeper, examine};
use event_log::{Position, StreamId};
use indicatif::ProgressBar;
use installation::{Access, Installation, Place};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether somebody else has charged on.
const LOOK: Duration = Duration::from_millis(100);
/// How often nothing may have moved before this process charges by itself.
const LOOKS_MAX: u32 = 20;

/// Connections to the database beside those of the log's writer: for commands that are decided side
/// by side, and for a server.
const CONNECTIONS: u32 = 16;

/// An open installation and its executor; what is appended here is signed here, too.
/// [`close`](Self::close) it.
pub(crate) struct Session {
    installation: Installation,
    executor: Executor,
    keeper: Option<Keeper>,
}

impl Session {
    /// Opens the installation to append to it, or to be its server.
    pub(crate) async fn open(place: &Place, access: Access) -> Result<Self, Stopped> {
        let opened = Installation::open_with(place, access, |settings| {
            settings.read_connections = CONNECTIONS;
            // One writer writes in the order in which it is asked: rows stay as in their file.
            if access == Access::Write {
                settings.append_connections = 1;
            }
        });
        let installation = opened.await?;
        match Self::begin(&installation).await {
            Ok((executor, keeper)) => Ok(Self { installation, executor, keeper: Some(keeper) }),
            Err(error) => {
                installation.close().await;
                Err(error)
            }
        }
    }

    async fn begin(installation: &Installation) -> Result<(Executor, Keeper), Stopped> {
        let (log, keys) = (installation.log(), installation.keys()?.clone());
        let evidence = installation.evidence()?;
        // Before anything is appended, and not a moment later.
        if let Some(halt) = examine(log, &evidence).await? {
            return Err(halt.into());
        }
        let keeper = Keeper::start(log, evidence);
        Ok((Executor::new(log.clone(), keys, Arc::new(SystemClock)), keeper))
    }

    /// Signs what was appended up to now, and leaves the rest to somebody else.
    pub(crate) async fn stop_signing(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.stop().await;
        }
    }

    pub(crate) const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// For whoever watches over the database.
    pub(crate) const fn installation_mut(&mut self) -> &mut Installation {
        &mut self.installation
    }

    pub(crate) const fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The state of one aggregate as it is now; one that is the only of its kind has no id.
    pub(crate) async fn state<A>(&self, id: &str) -> Result<A, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let stream = match id {
            "" => StreamId::parse(A::KIND)?,
            id => StreamId::new(A::KIND, id)?,
        };
        let history = self.executor.log().read_stream(&stream, 0, None).await?;
        history.iter().try_fold(A::default(), |state, recorded| {
            let (name, version) = (&recorded.type_name, recorded.schema_version);
            let event = Event::decode(name, version, &recorded.payload)?;
            let event =
                A::Event::try_from(event).map_err(|error| Failure::Internal(error.into()))?;
            Ok(state.evolve(&event))
        })
    }

    /// Lets everything that follows from the log up to `to` happen: without a server here, beside
    /// one by waiting for it. Whoever reacts and charges moves positions on; while these move,
    /// somebody is at work, and when they stand still this process does it, which is safe at any
    /// time.
    pub(crate) async fn settle_up_to(&self, to: Position, quiet: bool) -> Result<(), Failure> {
        let alone = self.installation.is_owner();
        let from = charging::charged_to(&self.executor).await?;
        if from < to {
            let length = u64::try_from(to.0 - from.0).unwrap_or_default();
            let shown = bar(quiet, Counts::Things, "charging the usage", Some(length));
            if alone || !self.others_work(to, &shown, from).await? {
                let mut progress = |read: usize| shown.inc(u64::try_from(read).unwrap_or_default());
                charging::catch_up(&self.executor, to, &mut progress).await?;
            }
            shown.finish_and_clear();
        }
        if alone || self.settled_to().await? < to {
            // Nobody else is there: what else follows from the log is worked off as well.
            flows::settle(&self.executor).await?;
        }
        Ok(())
    }

    /// Waits while another process works; `false` when none does.
    async fn others_work(
        &self,
        to: Position,
        shown: &ProgressBar,
        from: Position,
    ) -> Result<bool, Failure> {
        let (mut seen, mut looks) = (self.settled_to().await?, 0);
        while looks < LOOKS_MAX {
            tokio::time::sleep(LOOK).await;
            let at = self.settled_to().await?;
            if at >= to {
                return Ok(true);
            }
            looks = if at > seen { 0 } else { looks + 1 };
            seen = at;
            shown.set_position(u64::try_from(at.0 - from.0).unwrap_or_default());
        }
        Ok(false)
    }

    /// Up to where every flow has worked.
    async fn settled_to(&self) -> Result<Position, Failure> {
        let failed = |error| Failure::Unavailable(Box::new(error));
        let mut connection = self.installation.pool().acquire().await.map_err(failed)?;
        let reacted = event_log::consumer_position(&mut connection, reactions::NAME).await;
        let charged = event_log::consumer_position(&mut connection, charging::NAME).await;
        Ok(reacted.map_err(failed)?.min(charged.map_err(failed)?))
    }

    /// Records what was accepted, signs it, and closes; stops a private Postgres that was started
    /// for this.
    pub(crate) async fn close(mut self) {
        self.executor.flush_denials().await;
        self.stop_signing().await;
        self.installation.close().await;
    }
}
