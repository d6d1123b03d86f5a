//! How far read models are, and waiting for them: a caller reads its own writes.
//!
//! What is written down in the database is the truth, whoever keeps the read models up to date and
//! wherever. A runtime in the same process rings as soon as it has moved one; without that, and for
//! those that another process owns, the table is looked at every few milliseconds while somebody
//! waits, and not at all while nobody does.

use crate::control::{self, Standing, State};
use event_log::Position;
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a waiter goes without looking.
const LOOK: Duration = Duration::from_millis(10);

/// Tells how far read models are. Clones share everything.
#[derive(Clone, Debug)]
pub struct Progress {
    pool: PgPool,
    bell: Arc<watch::Sender<()>>,
}

/// Why a caller cannot be shown what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    /// It is not there yet.
    #[error("{name} is at position {position}, not yet at {wanted}; try again shortly")]
    Behind {
        /// Which read model.
        name: String,
        /// Where it is.
        position: Position,
        /// Where it should be.
        wanted: Position,
    },
    /// It stands still, and waiting is of no use.
    #[error("{name} stopped at position {position}; it needs an operator")]
    Stopped {
        /// Which read model.
        name: String,
        /// Where it is.
        position: Position,
    },
    /// There is no such read model, or none was ever made.
    #[error("there is no read model {name}")]
    Unknown {
        /// Which one.
        name: String,
    },
    /// Nobody can say.
    #[error("how far the read models are cannot be told just now; try again")]
    Unavailable(#[from] sqlx::Error),
}

impl Progress {
    /// For the read models of a database, whoever keeps them up to date.
    #[must_use]
    pub fn of(pool: PgPool) -> Self {
        let (bell, _) = watch::channel(());
        Self { pool, bell: Arc::new(bell) }
    }

    /// Wakes whoever waits.
    pub(crate) fn ring(&self) {
        self.bell.send_replace(());
    }

    /// How every read model stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn standings(&self) -> Result<Vec<Standing>, sqlx::Error> {
        control::standings(&self.pool).await
    }

    /// How far one read model is.
    ///
    /// # Errors
    /// [`Stale::Unknown`] and [`Stale::Unavailable`].
    pub async fn position(&self, name: &str) -> Result<Position, Stale> {
        let standings = self.standings().await?;
        let found = standings.into_iter().find(|standing| standing.name == name);
        let unknown = || Stale::Unknown { name: name.to_owned() };
        found.map(|standing| standing.position).ok_or_else(unknown)
    }

    /// Returns once all of these read models have taken in every event up to a position.
    ///
    /// # Errors
    /// [`Stale`], after `patience` at the latest, and at once when waiting is of no use.
    pub async fn wait(
        &self,
        names: &[&str],
        at_least: Position,
        patience: Duration,
    ) -> Result<(), Stale> {
        let deadline = Instant::now() + patience;
        let mut rings = self.bell.subscribe();
        loop {
            // Marked as heard before looking: what moves after the look rings again.
            rings.mark_unchanged();
            let Err(stale) = judge(&self.standings().await?, names, at_least) else {
                return Ok(());
            };
            if Instant::now() >= deadline || !matches!(stale, Stale::Behind { .. }) {
                return Err(stale);
            }
            let look = (Instant::now() + LOOK).min(deadline);
            // Rung, or time to look anyway; the bell lives as long as we do.
            let _rung = tokio::time::timeout_at(look, rings.changed()).await;
        }
    }
}

/// Asks once, on a connection of the caller's, whether read models are as far as that. Who reads on
/// the same connection afterwards is certain even across a crash of the database, which would have
/// broken it off.
///
/// # Errors
/// See [`Stale`].
pub async fn confirm(
    connection: &mut PgConnection,
    names: &[&str],
    at_least: Position,
) -> Result<(), Stale> {
    judge(&control::standings(connection).await?, names, at_least)
}

fn judge(standings: &[Standing], names: &[&str], wanted: Position) -> Result<(), Stale> {
    for name in names {
        let name = (*name).to_owned();
        let Some(standing) = standings.iter().find(|standing| standing.name == name) else {
            return Err(Stale::Unknown { name });
        };
        let position = standing.position;
        if position >= wanted {
            continue;
        }
        return Err(match standing.state {
            State::Stopped => Stale::Stopped { name, position },
            State::Live | State::Retired | State::Building | State::CatchingUp | State::Ready => {
                Stale::Behind { name, position, wanted }
            }
        });
    }
    Ok(())
}
