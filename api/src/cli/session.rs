//! An installation that one command line works on, beside a running server or without one.

use super::progress::{Counts, bar};
use commands::flows::{self, charging};
use commands::{Executor, Failure, SystemClock};
use domain::{Aggregate, Event, OfAnotherKind};
use event_log::{Position, StreamId};
use installation::{Access, Installation, Place};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether somebody else has charged on.
const LOOK: Duration = Duration::from_millis(100);
/// How often nothing may have moved before this process charges by itself.
const LOOKS_MAX: u32 = 20;

/// An open installation and its executor. [`close`](Self::close) it.
pub(crate) struct Session {
    installation: Installation,
    executor: Executor,
}

impl Session {
    /// Opens the installation to append to it.
    pub(crate) async fn open(place: &Place) -> Result<Self, installation::Error> {
        let installation = Installation::open(place, Access::Write).await?;
        let keys = match installation.keys() {
            Ok(keys) => keys.clone(),
            Err(error) => {
                installation.close().await;
                return Err(error);
            }
        };
        let executor = Executor::new(installation.log().clone(), keys, Arc::new(SystemClock));
        Ok(Self { installation, executor })
    }

    pub(crate) const fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The state of one aggregate as it is now.
    pub(crate) async fn state<A>(&self, id: &str) -> Result<A, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let stream = StreamId::new(A::KIND, id)?;
        let history = self.executor.log().read_stream(&stream, 0, None).await?;
        history.iter().try_fold(A::default(), |state, recorded| {
            let (name, version) = (&recorded.type_name, recorded.schema_version);
            let event = Event::decode(name, version, &recorded.payload)?;
            let event =
                A::Event::try_from(event).map_err(|error| Failure::Internal(error.into()))?;
            Ok(state.evolve(&event))
        })
    }

    /// Lets everything that follows from the log happen, up to `to`: without a server here, beside
    /// one by waiting for it. Whoever charges moves a position on; while that moves, somebody is at
    /// work, and when it stands still this process charges, which is safe at any time.
    pub(crate) async fn charge_up_to(&self, to: Position, quiet: bool) -> Result<(), Failure> {
        let from = charging::charged_to(&self.executor).await?;
        if from < to {
            self.charge_between(from, to, quiet).await?;
        }
        if self.installation.is_owner() {
            // Nobody else is there: what else follows from the log is worked off as well.
            flows::settle(&self.executor).await?;
        }
        Ok(())
    }

    async fn charge_between(
        &self,
        from: Position,
        to: Position,
        quiet: bool,
    ) -> Result<(), Failure> {
        let length = u64::try_from(to.0 - from.0).unwrap_or_default();
        let shown = bar(quiet, Counts::Things, "charging the usage", Some(length));
        let show = |at: Position| shown.set_position(u64::try_from(at.0 - from.0).unwrap_or(0));
        if self.installation.is_owner() || !self.others_charge(from, to, &show).await? {
            let mut progress = |read: usize| shown.inc(u64::try_from(read).unwrap_or_default());
            charging::catch_up(&self.executor, to, &mut progress).await?;
        }
        shown.finish_and_clear();
        Ok(())
    }

    /// Waits while another process charges; `false` when none does.
    async fn others_charge(
        &self,
        from: Position,
        to: Position,
        show: &(dyn Fn(Position) + Sync),
    ) -> Result<bool, Failure> {
        let (mut seen, mut looks) = (from, 0);
        while looks < LOOKS_MAX {
            tokio::time::sleep(LOOK).await;
            let at = charging::charged_to(&self.executor).await?;
            if at >= to {
                return Ok(true);
            }
            looks = if at > seen { 0 } else { looks + 1 };
            seen = at;
            show(at);
        }
        Ok(false)
    }

    /// Records what was accepted and closes; stops a private Postgres that was started for this.
    pub(crate) async fn close(self) {
        self.executor.flush_denials().await;
        self.installation.close().await;
    }
}
