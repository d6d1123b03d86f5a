//! What a command line needs of an installation: the log, the keys, the connections.
//!
//! [`Place`] says where it lies and doubles as command-line options; [`Installation::open`] does
//! the rest: without a database of the user's own it starts the private Postgres of the data
//! folder, or joins the one that runs there; it migrates where it may; it takes on the service's
//! role; it finds the master key and the keys that sign. Three rules hold:
//!
//! * there is one server for a data folder, and a second [`Access::Serve`] is refused by name;
//! * [`Access::Read`] makes nothing and changes nothing: no folder, no key, no table, and
//!   [`Access::Derive`] nothing but what can be derived again;
//! * whoever started the private Postgres stops it, and nobody else.
//!
//! ```no_run
//! # async fn example() -> Result<(), installation::Error> {
//! use installation::{Access, Installation, Place};
//!
//! let installation = Installation::open(&Place::folder(".opscenter"), Access::Write).await?;
//! let head = installation.log().head().await;
//! installation.close().await;
//! # Ok(())
//! # }
//! ```

mod database;
mod error;
mod keys;
mod place;
mod private;
mod signing;
pub mod survey;

pub use error::Error;
pub use place::{Access, DATA_DEFAULT, Place};
pub use signing::{log_guard, log_keys};

use event_log::tree::keeper::Evidence;
use event_log::{EventLog, KeyRing, OpenError, Settings, SigningKeys};
use private_postgres::{Mode, PrivatePostgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, PgPool};
use std::path::{Path, PathBuf};

/// The role that the log is read and appended to as.
pub const SERVICE_ROLE: &str = "opscenter_service";

/// An open installation. [`close`](Self::close) it: dropping loses what waits to be recorded.
#[derive(Debug)]
pub struct Installation {
    log: EventLog,
    keys: Option<KeyRing>,
    signing_keys: Option<SigningKeys>,
    place: Place,
    postgres: Option<PrivatePostgres>,
}

impl Installation {
    /// Opens the installation at a place.
    ///
    /// # Errors
    /// Each variant of [`Error`] says what to do next.
    pub async fn open(place: &Place, access: Access) -> Result<Self, Error> {
        Self::open_with(place, access, |_| {}).await
    }

    /// Opens the installation at a place with other settings of the log than the usual.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        place: &Place,
        access: Access,
        change: impl FnOnce(&mut Settings) + Send,
    ) -> Result<Self, Error> {
        let (log, postgres) = match place.database() {
            Some(url) => (database::open(url, place, access, change).await?, None),
            None => {
                let (log, server) = private::open(place, access, change).await?;
                (log, Some(server))
            }
        };
        let place = place.clone();
        let mut opened = Self { log, keys: None, signing_keys: None, place, postgres };
        match opened.open_keys(access).await {
            Ok(()) => Ok(opened),
            Err(error) => {
                opened.close().await;
                Err(error)
            }
        }
    }

    async fn open_keys(&mut self, access: Access) -> Result<(), Error> {
        self.keys = keys::open(&self.log, &self.place.data_dir, access).await?;
        self.signing_keys = signing::open(&self.place.data_dir, access)?;
        Ok(())
    }

    /// The event log.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// What seals and opens personal data. Always there for [`Access::Serve`] and
    /// [`Access::Write`].
    ///
    /// # Errors
    /// [`Error::NoMasterKey`] when it was opened to read, and no master key that fits was found.
    pub fn keys(&self) -> Result<&KeyRing, Error> {
        self.keys
            .as_ref()
            .ok_or_else(|| Error::NoMasterKey { path: keys::path(&self.place.data_dir) })
    }

    /// What signs checkpoints of the log. Always there for [`Access::Serve`] and
    /// [`Access::Write`].
    ///
    /// # Errors
    /// [`Error::NoLogKeys`] when it was opened to read, and none were found that can be used.
    pub fn signing_keys(&self) -> Result<&SigningKeys, Error> {
        let missing = || Error::NoLogKeys { path: signing::path(&self.place.data_dir) };
        self.signing_keys.as_ref().ok_or_else(missing)
    }

    /// What checkpoints of the log are signed with and remembered by. Always there for
    /// [`Access::Serve`] and [`Access::Write`].
    ///
    /// # Errors
    /// As [`signing_keys`](Self::signing_keys).
    pub fn evidence(&self) -> Result<Evidence, Error> {
        let keys = self.signing_keys()?.clone();
        Ok(Evidence { keys, guard: signing::guard(&self.place.data_dir) })
    }

    /// The connections of readers, projections and flows.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.log.pool()
    }

    /// A connection as the role that the tables of the log belong to: for what the service has no
    /// right to, such as exchanging a partition for its archived form.
    ///
    /// # Errors
    /// [`Error::NoRight`] when nobody who was named may become that role.
    pub async fn owner(&self) -> Result<PgConnection, Error> {
        let connect = match (&self.postgres, self.place.database()) {
            (Some(server), _) => private::owner(server)?,
            (None, Some(url)) => database::owner(&self.place, url)?,
            (None, None) => return Err(Error::Interrupted),
        };
        let role = connect.get_username().to_owned();
        let unreachable = |source| Error::Log(OpenError::Unreachable(source));
        let mut connection = connect.connect().await.map_err(unreachable)?;
        let became = sqlx::query("set role opscenter_owner").execute(&mut connection).await;
        became.map_err(|_| Error::NoRight {
            role,
            what: "change how the log's tables are stored",
            advice: "set DATABASE_OWNER_URL to a role that may become opscenter_owner",
        })?;
        Ok(connection)
    }

    /// The folder of the bundles that archived partitions are in.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.place.archive()
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.place.data_dir
    }

    /// Whether the database is a private Postgres under the data folder.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.postgres.is_some()
    }

    /// Whether we started the private Postgres, and closing stops it.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.postgres.as_ref().is_some_and(PrivatePostgres::is_owner)
    }

    /// Starts our private Postgres again if it has ended by itself; true when it had to. A server
    /// calls this when the database stops answering, and now and then.
    ///
    /// # Errors
    /// [`Error::Postgres`] when it does not start; it may be asked again.
    pub async fn ensure_running(&mut self) -> Result<bool, Error> {
        let Some(mut server) = self.postgres.take() else {
            return Ok(false);
        };
        let looked = tokio::task::spawn_blocking(move || {
            let result = server.ensure_running();
            (server, result)
        });
        let (server, result) = looked.await.map_err(|_| Error::Interrupted)?;
        self.postgres = Some(server);
        Ok(result?)
    }

    /// Records what was accepted, closes every connection, and stops a private Postgres that we
    /// started.
    pub async fn close(self) {
        self.log.close().await;
        if let Some(server) = self.postgres {
            stop(server).await;
        }
    }
}

async fn stop(server: PrivatePostgres) {
    let stopped = tokio::task::spawn_blocking(move || server.stop(Mode::Fast));
    if stopped.await.is_err() {
        tracing::warn!("the private Postgres was not seen to stop");
    }
}

/// The server itself refuses to write for such a connection.
fn read_only(connect: PgConnectOptions) -> PgConnectOptions {
    connect.options([("default_transaction_read_only", "on")])
}
