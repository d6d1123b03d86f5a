//! A process of its own, as far as the database can tell: it can be killed at any moment.

use event_log::{EventLog, Settings};
use projections::{Options, Runtime, definitions};
use tokio::sync::oneshot;

/// Runs every read model, with its own connections and its own threads.
pub(crate) struct Process {
    tokio: Option<tokio::runtime::Runtime>,
}

impl Process {
    /// Starts one; returns once it follows the log.
    pub(crate) async fn start(settings: Settings, options: Options) -> Self {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let tokio = threads.worker_threads(1).enable_all().build().unwrap();
        let (started, has_started) = oneshot::channel();
        tokio.spawn(async move {
            let log = EventLog::connect(settings).await.unwrap();
            let _runtime = Runtime::start_with(&log, definitions(), options).await.unwrap();
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        has_started.await.unwrap();
        Self { tokio: Some(tokio) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Every task ends where it stands and every connection breaks off, as in a kill.
        self.tokio.take().unwrap().shutdown_background();
    }
}
