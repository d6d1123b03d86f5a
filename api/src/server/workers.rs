//! The worker of service actions, where there is a container engine to carry them out.

use commands::Executor;
use commands::workers::ServiceActionWorker;
use commands::workers::service_actions::Settings;
use integrations::DockerEngine;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long an action that is under way may take to end when the server stops. What is not ended by
/// then is ended truthfully by whoever starts next.
const PATIENCE: Duration = Duration::from_secs(5);

/// What carries out effects, running.
pub(super) struct Workers {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(executor: &Executor, address: SocketAddr, is_wanted: bool) -> Self {
        let stop = CancellationToken::new();
        let engine = match DockerEngine::usual() {
            Ok(engine) if is_wanted => engine,
            Ok(_) => return Self { stop, task: None },
            Err(error) => {
                tracing::warn!(%error, "service actions are not carried out by this server");
                return Self { stop, task: None };
            }
        };
        tracing::info!(engine = engine.host(), "service actions are carried out by this server");
        let settings = Settings::new(name(address));
        let worker =
            ServiceActionWorker::new(Arc::new(executor.clone()), Arc::new(engine), settings);
        let stopped = stop.clone();
        let task = tokio::spawn(async move { worker.run(stopped.cancelled_owned()).await });
        Self { stop, task: Some(task) }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        let Some(mut task) = self.task else { return };
        match tokio::time::timeout(PATIENCE, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the worker of service actions ended badly"),
            Err(_) => {
                tracing::warn!("a service action is still under way; the next start ends it");
                task.abort();
            }
        }
    }
}

/// The same over restarts and shared by no two live processes: they cannot listen at one address.
fn name(address: SocketAddr) -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "localhost" } else { host };
    format!("worker.service_actions/{host}:{}", address.port())
}
