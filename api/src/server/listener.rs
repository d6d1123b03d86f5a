//! The doors: accepts connections, bounds them, and closes without cutting anybody off.
//!
//! Small answers go out at once (no delay on the socket); a head that does not arrive in time, and
//! more connections than fit, are turned away.

use crate::http::Peer;
use crate::metrics;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many connections are served at once; more wait to be accepted.
    pub(super) connections: usize,
    /// How long the head of a request may take to arrive, also on a connection that is idle.
    pub(super) head: Duration,
    /// How long requests that are under way may take once the doors close.
    pub(super) farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            head: Duration::from_secs(30),
            farewell: Duration::from_secs(20),
        }
    }
}

/// Open doors.
pub(super) struct Doors {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Doors {
    pub(super) fn open(listener: TcpListener, router: Router, limits: Limits) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, router, limits, stop.clone()));
        Self { stop, task }
    }

    /// Accepts nobody any more and returns when everybody is served.
    pub(super) async fn close(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the listener ended badly");
        }
    }
}

async fn accept(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop) = (router.clone(), stop.clone());
                let left = places.available_permits();
                metrics::connections(limits.connections.saturating_sub(left));
                open.spawn(async move {
                    serve(stream, peer, router, limits, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: those in use come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.farewell, all).await.is_err() {
        tracing::warn!("requests that took too long to end were cut off");
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the socket keeps its delay");
    }
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let answered: Result<_, Infallible> = router.oneshot(request).await;
            answered
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke off");
    }
}
