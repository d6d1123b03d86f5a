//! The read models that a request uses, and waiting for just those.
//!
//! How far they are is asked once in a request, before the first row is read, so that the answer
//! includes at least what it says it does. Who names a position waits for the models in use until
//! they are there, for two seconds at most; an old answer is never given in silence.

use crate::problem::{Code, Problem};
use event_log::Position;
use projections::{Progress, Stale};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a request waits for a read model.
const PATIENCE: Duration = Duration::from_secs(2);

/// How new the answers of one request have to be, and how new they are.
#[derive(Debug)]
pub(crate) struct Freshness {
    at_least: Option<Position>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    standings: Option<BTreeMap<String, Position>>,
    used: BTreeMap<&'static str, Position>,
}

impl Freshness {
    pub(crate) fn new(at_least: Option<Position>) -> Self {
        Self { at_least, state: Mutex::default() }
    }

    /// Notes that a model is used, and waits until it is as new as was asked.
    pub(crate) async fn use_model(
        &self,
        progress: &Progress,
        name: &'static str,
    ) -> Result<(), Problem> {
        // Held while waiting, so that parts of one document that run at once wait together.
        let mut state = self.state.lock().await;
        if state.used.contains_key(name) {
            return Ok(());
        }
        if state.standings.is_none() {
            let standings = progress.standings().await.map_err(|e| Problem::unavailable(&e))?;
            let known = standings.into_iter().map(|it| (it.name, it.position)).collect();
            state.standings = Some(known);
        }
        let known = state.standings.as_ref().and_then(|known| known.get(name)).copied();
        let mut position = known.unwrap_or_default();
        if let Some(wanted) = self.at_least.filter(|wanted| *wanted > position) {
            wait(progress, name, wanted).await?;
            position = wanted;
        }
        state.used.insert(name, position);
        Ok(())
    }

    /// What every model in use has taken in; `None` when none is used.
    pub(crate) async fn complete_up_to(&self) -> Option<Position> {
        self.state.lock().await.used.values().min().copied()
    }

    /// Which models were used, and how far each was.
    pub(crate) async fn used(&self) -> Vec<(&'static str, Position)> {
        self.state.lock().await.used.iter().map(|(name, at)| (*name, *at)).collect()
    }
}

/// Waits for one read model.
pub(crate) async fn wait(
    progress: &Progress,
    name: &'static str,
    wanted: Position,
) -> Result<(), Problem> {
    progress.wait(&[name], wanted, PATIENCE).await.map_err(|stale| match &stale {
        Stale::Behind { .. } | Stale::Stopped { .. } => {
            Problem::new(Code::ReadModelStale, stale.to_string())
        }
        Stale::Unknown { .. } => Problem::internal(&stale),
        Stale::Unavailable(_) => Problem::unavailable(&stale),
    })
}
