//! What a server does while nobody asks it anything: it looks after its own database.
//!
//! A private Postgres that has ended by itself, or was killed, is started again. What was
//! acknowledged is in it, and requests that were interrupted are told to be repeated. A database of
//! the user's own is looked after by whoever runs it.

use super::Stopped;
use super::serve::Stopping;
use installation::Installation;
use std::pin::pin;
use std::time::Duration;

/// How often it is looked whether the database still runs.
const LOOK: Duration = Duration::from_millis(250);
/// How often in a row it may fail to start before the server gives up.
const RESTARTS_MAX: u32 = 5;

/// Waits for a signal to stop, and looks after the database meanwhile.
///
/// # Errors
/// When the database does not start any more: that is for a supervisor or a person to look at.
pub async fn watch_over(
    installation: &mut Installation,
    stopping: Stopping,
) -> Result<(), Stopped> {
    let (mut signal, mut failures) = (pin!(stopping.wait()), 0);
    loop {
        tokio::select! {
            why = &mut signal => {
                tracing::info!(signal = why, "asked to stop");
                return Ok(());
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        // Not part of the selection: it must not be given up half-way.
        match installation.ensure_running().await {
            Ok(false) => failures = 0,
            Ok(true) => {
                tracing::warn!("the private Postgres had ended; it runs again");
                failures = 0;
            }
            Err(error) if failures < RESTARTS_MAX => {
                tracing::error!(%error, "the private Postgres has ended and does not start");
                failures += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
