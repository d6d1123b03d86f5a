//! The server: everything that runs while it runs, started and stopped in order.
//!
//! Started: read models, the set-up link where nobody administers yet, who asks the witnesses, the
//! keeper of the evidence, flows, the worker of service actions, then the doors. Stopped in the
//! other direction: no new connections, requests that are under way end, then flows and worker,
//! then what was only counted is written down and signed. The log and the database belong to
//! whoever started the server, who closes them last.

mod error;
mod listener;
mod setup_link;
mod workers;

pub use error::StartError;
pub(crate) use setup_link::has_administrator;

use crate::graphql::Documents;
use crate::http::{App, BodyPlaces, router};
use crate::metrics;
use crate::reading::Services;
use commands::flows::Flows;
use commands::{Clock, Executor, SystemClock};
use event_log::tree::keeper::{Evidence, Keeper, examine};
use event_log::witness::{Sealer, WitnessPolicy};
use event_log::{EventLog, KeyRing, Position};
use integrations::WitnessClient;
use listener::{Doors, Limits};
use projections::Runtime;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use workers::Workers;

/// What a server is made of.
#[derive(Clone)]
pub struct ServerSettings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The log.
    pub log: EventLog,
    /// What seals and opens personal data.
    pub keys: KeyRing,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether service actions are carried out here, through the container engine of the machine.
    pub carries_out_actions: bool,
    /// What checkpoints are signed with and remembered by; without it this server signs none.
    pub evidence: Option<Evidence>,
    /// Who is asked to cosign the checkpoints; nobody where there is none.
    pub witnesses: Option<WitnessPolicy>,
    /// Whether everybody may ask about the GraphQL schema, as one does while developing.
    pub open_schema: bool,
}

impl ServerSettings {
    /// The usual ones.
    #[must_use]
    pub fn new(address: SocketAddr, log: EventLog, keys: KeyRing) -> Self {
        let clock = Arc::new(SystemClock);
        let (carries_out_actions, open_schema) = (true, false);
        let (evidence, witnesses) = (None, None);
        Self { address, log, keys, clock, carries_out_actions, evidence, witnesses, open_schema }
    }
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    executor: Executor,
    setup_token: Option<String>,
    doors: Doors,
    flows: Flows,
    workers: Workers,
    keeper: Option<Keeper>,
    sealer: Option<Sealer>,
    projections: Runtime,
}

impl Server {
    /// Starts everything and opens the doors.
    ///
    /// # Errors
    /// [`StartError`] says what stands in the way and what to do about it.
    pub async fn start(settings: ServerSettings) -> Result<Self, StartError> {
        let ServerSettings {
            address,
            log,
            keys,
            clock,
            carries_out_actions,
            evidence,
            witnesses,
            open_schema,
        } = settings;
        // First: a port that is taken is found out before anything is begun.
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::of_bind(address, source))?;
        let address =
            listener.local_addr().map_err(|source| StartError::Bind { address, source })?;
        metrics::start();
        // Before anything is appended, and not a moment later.
        if let Some(evidence) = &evidence
            && let Some(halt) = examine(&log, evidence).await.map_err(StartError::Log)?
        {
            tracing::error!(reason = %halt, details = ?halt, "nothing is appended or signed here");
            log.halt(halt);
        }
        let executor = Executor::new(log.clone(), keys, clock);
        let projections = Runtime::start(&log).await.map_err(StartError::ReadModels)?;
        let setup_token = match log.halted() {
            None => setup_link::issue_where_needed(&executor).await?,
            Some(_) => None,
        };
        let sealer = witnesses.map(|policy| seal(&log, policy)).transpose()?;
        let services = Services {
            executor: executor.clone(),
            progress: projections.progress(),
            log_id: log_id(&log).await?,
            evidence: evidence.clone(),
            sealing: sealer.as_ref().map(Sealer::sealing),
        };
        let keeper = evidence.map(|evidence| Keeper::start(&log, evidence));
        let flows = Flows::start(&executor);
        let workers = Workers::start(&executor, address, carries_out_actions);
        let documents = Documents::new(open_schema);
        let app = App { services, documents, bodies: BodyPlaces::default() };
        let doors = Doors::open(listener, router(app), Limits::default());
        tracing::info!(%address, "listening");
        Ok(Self {
            address,
            executor,
            setup_token,
            doors,
            flows,
            workers,
            keeper,
            sealer,
            projections,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What commands are carried out by.
    #[must_use]
    pub const fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The one-time link of the first administrator, when there is none yet. It is not written to
    /// the log: whoever starts the server shows it once.
    #[must_use]
    pub fn setup_link(&self) -> Option<String> {
        let token = self.setup_token.as_ref()?;
        Some(format!("http://{}/setup/{token}", self.address))
    }

    /// How far the read models are.
    #[must_use]
    pub fn progress(&self) -> projections::Progress {
        self.projections.progress()
    }

    /// Stops in order; no accepted command is lost. The log stays open.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.doors.close().await;
        self.flows.stop().await;
        self.workers.stop().await;
        self.executor.flush_denials().await;
        if let Some(sealer) = self.sealer {
            sealer.stop().await;
        }
        if let Some(keeper) = self.keeper {
            // Last of all that append: it signs what they left.
            keeper.stop().await;
        }
        self.projections.stop().await;
        tracing::info!("stopped");
    }
}

/// Starts asking witnesses.
fn seal(log: &EventLog, policy: WitnessPolicy) -> Result<Sealer, StartError> {
    Sealer::start(log, policy, |witness| WitnessClient::new(witness.clone()))
        .map_err(StartError::Witnesses)
}

/// Tells this log's positions from those of another: taken from its first batch, which every log
/// has by now and no two share.
async fn log_id(log: &EventLog) -> Result<u32, StartError> {
    let batches = log.batches(Position::START, 1).await.map_err(StartError::Log)?;
    let chain = batches.first().and_then(|batch| batch.chain.first_chunk::<4>());
    Ok(chain.map(|bytes| u32::from_be_bytes(*bytes)).unwrap_or_default())
}
