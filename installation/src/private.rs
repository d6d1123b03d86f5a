//! The private Postgres of a data folder, for whoever names no database.

use crate::error::Address;
use crate::{Access, Error, Place, SERVICE_ROLE};
use event_log::{EventLog, MigrateError, OpenError, Settings, migrate};
use private_postgres::{Options, PrivatePostgres};
use sqlx::postgres::PgConnectOptions;
use std::path::Path;

/// Starts or joins the server of the folder and opens its log.
pub(crate) async fn open(
    place: &Place,
    access: Access,
    change: impl FnOnce(&mut Settings) + Send,
) -> Result<(EventLog, PrivatePostgres), Error> {
    let folder = place.data_dir.clone();
    if !access.makes() && !holds_cluster(&folder) {
        return Err(nothing(&folder));
    }
    // Starting blocks for seconds the first time.
    let started = tokio::task::spawn_blocking(move || {
        let options = Options::new(folder);
        match access {
            Access::Serve => PrivatePostgres::start(&options),
            Access::Write | Access::Derive | Access::Read => {
                PrivatePostgres::connect_or_start(&options)
            }
        }
    });
    let server = started.await.map_err(|_| Error::Interrupted)??;
    match open_log(place, access, &server, change).await {
        Ok(log) => Ok((log, server)),
        Err(error) => {
            crate::stop(server).await;
            Err(error)
        }
    }
}

async fn open_log(
    place: &Place,
    access: Access,
    server: &PrivatePostgres,
    change: impl FnOnce(&mut Settings) + Send,
) -> Result<EventLog, Error> {
    let address = Address {
        address: server.socket_dir().display().to_string(),
        role: SERVICE_ROLE.to_owned(),
        name: server.database().to_owned(),
        variable: "--data",
    };
    let superuser = options(&server.connection_url(server.superuser()))?;
    // The tables of a folder whose server is somebody else's are changed under nobody's feet.
    if access.makes() && server.is_owner() {
        bring_on(&superuser, &address).await?;
    }
    let mut settings = Settings::new(options(&server.connection_url(SERVICE_ROLE))?);
    settings.archive = Some(place.archive());
    if access == Access::Read {
        settings.connect = crate::read_only(settings.connect);
    }
    change(&mut settings);
    let opened = match EventLog::connect(settings.clone()).await {
        // The owner has only just started and is about to make the tables.
        Err(error) if access == Access::Write && is_unmade(&error) => {
            bring_on(&superuser, &address).await?;
            EventLog::connect(settings).await
        }
        other => other,
    };
    opened.map_err(|error| match error {
        error if is_unmade(&error) => nothing(&place.data_dir),
        OpenError::SchemaTooOld { found, needed } if server.is_owner() => {
            Error::NotMigrated { found, needed }
        }
        OpenError::SchemaTooOld { found, needed } => {
            Error::OlderServer { folder: place.data_dir.clone(), found, needed }
        }
        error => address.explain_open(error),
    })
}

/// How the role is reached that may become the owner of the tables.
pub(crate) fn owner(server: &PrivatePostgres) -> Result<PgConnectOptions, Error> {
    options(&server.connection_url(server.superuser()))
}

async fn bring_on(superuser: &PgConnectOptions, address: &Address) -> Result<(), Error> {
    let migrated = migrate(superuser).await;
    let migrated = migrated.map_err(|error: MigrateError| address.explain_migration(error))?;
    if migrated.from != migrated.to {
        tracing::info!(from = migrated.from, to = migrated.to, "the log was migrated");
    }
    Ok(())
}

/// No tables, or not even the role that reads them.
fn is_unmade(error: &OpenError) -> bool {
    match error {
        OpenError::NotMigrated => true,
        OpenError::Unreachable(sqlx::Error::Database(said)) => {
            said.code().is_some_and(|code| code == "28000")
        }
        OpenError::Unreachable(_)
        | OpenError::Url
        | OpenError::ServerTooOld { .. }
        | OpenError::Encoding { .. }
        | OpenError::SchemaTooOld { .. }
        | OpenError::SchemaNewer { .. } => false,
    }
}

fn holds_cluster(folder: &Path) -> bool {
    folder.join("postgres").join("PG_VERSION").exists()
}

fn nothing(folder: &Path) -> Error {
    Error::NothingHere { place: format!("the folder {}", folder.display()) }
}

fn options(url: &str) -> Result<PgConnectOptions, Error> {
    url.parse().map_err(|_| Error::Url { variable: "--data" })
}
