//! A database of the user's own, named by `DATABASE_URL`.
//!
//! It is migrated as the role of `DATABASE_OWNER_URL`, or as its own role where that one may, and
//! used as the service's role where the server lets us take it on: then a mistake of ours meets
//! the rights that guard history.

use crate::error::Address;
use crate::survey::DatabaseFound;
use crate::{Access, Error, Place, SERVICE_ROLE};
use event_log::{EventLog, OpenError, SCHEMA_VERSION, Settings, migrate};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::time::Duration;

/// How long a server may take to answer at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What a first look at the database tells.
struct Look {
    role: String,
    version: String,
    encoding: String,
    /// Zero where there is no log.
    schema_version: i32,
    may_migrate: bool,
    may_serve: bool,
    reads_log: bool,
    appends: bool,
}

/// Migrates where that is needed and allowed, and opens the log.
pub(crate) async fn open(
    url: &str,
    place: &Place,
    access: Access,
    change: impl FnOnce(&mut Settings) + Send,
) -> Result<EventLog, Error> {
    let connect = options(url, "DATABASE_URL")?;
    let address = address(&connect, "DATABASE_URL");
    let mut look = look(&connect, &address, ANSWER_LIMIT).await?;
    match access {
        Access::Derive | Access::Read => refuse_unread(&look, &address)?,
        Access::Serve | Access::Write if look.schema_version < SCHEMA_VERSION => {
            bring_on(place, &connect, &address, &look).await?;
            look = self::look(&connect, &address, ANSWER_LIMIT).await?;
        }
        Access::Serve | Access::Write => {}
    }
    let connect = as_service(connect, &look, access)?;
    let mut settings = Settings::new(connect);
    settings.archive = Some(place.archive());
    if access == Access::Read {
        settings.connect = crate::read_only(settings.connect);
    }
    change(&mut settings);
    let opened = EventLog::connect(settings).await;
    opened.map_err(|error| address.explain_open(error))
}

fn refuse_unread(look: &Look, address: &Address) -> Result<(), Error> {
    match look.schema_version {
        0 => Err(Error::NothingHere {
            place: format!("database {:?} at {}", address.name, address.address),
        }),
        found if found < SCHEMA_VERSION => {
            Err(Error::NotMigrated { found, needed: SCHEMA_VERSION })
        }
        _ => Ok(()),
    }
}

/// How the role is reached that the tables of the log belong to, or that may become it.
pub(crate) fn owner(place: &Place, url: &str) -> Result<PgConnectOptions, Error> {
    match place.owner() {
        Some(url) => options(url, "DATABASE_OWNER_URL"),
        None => options(url, "DATABASE_URL"),
    }
}

async fn bring_on(
    place: &Place,
    connect: &PgConnectOptions,
    own: &Address,
    look: &Look,
) -> Result<(), Error> {
    let (owner, address) = match place.owner() {
        Some(url) => {
            let owner = options(url, "DATABASE_OWNER_URL")?;
            let address = address(&owner, "DATABASE_OWNER_URL");
            (owner, address)
        }
        None if look.may_migrate => (connect.clone(), own.clone()),
        None => return Err(no_right_to_migrate(look)),
    };
    let migrated = migrate(&owner).await;
    let migrated = migrated.map_err(|error| address.explain_migration(error))?;
    tracing::info!(from = migrated.from, to = migrated.to, "the log was migrated");
    Ok(())
}

fn no_right_to_migrate(look: &Look) -> Error {
    Error::NoRight {
        role: look.role.clone(),
        what: "make the tables of the log",
        advice: "set DATABASE_OWNER_URL to a role that may create roles and schemas",
    }
}

/// Refuses a role that can neither become the service nor do by itself what is wanted.
fn refuse_without_rights(look: &Look, access: Access) -> Result<(), Error> {
    let (allowed, what) = match access {
        Access::Derive | Access::Read => (look.reads_log, "read the log"),
        Access::Serve | Access::Write => (look.reads_log && look.appends, "append to the log"),
    };
    if allowed || look.may_serve || look.role == SERVICE_ROLE {
        return Ok(());
    }
    let advice = "let its owner run `grant opscenter_service to …` for it";
    Err(Error::NoRight { role: look.role.clone(), what, advice })
}

/// Takes on the service's role where the server allows it; else goes on as the role it is.
fn as_service(
    connect: PgConnectOptions,
    look: &Look,
    access: Access,
) -> Result<PgConnectOptions, Error> {
    if look.role == SERVICE_ROLE {
        return Ok(connect);
    }
    if look.may_serve {
        return Ok(connect.options([("role", SERVICE_ROLE)]));
    }
    refuse_without_rights(look, access)?;
    if access != Access::Read {
        tracing::warn!(
            role = look.role,
            "the database is used as a role that is not {SERVICE_ROLE}; what guards history \
             depends on that role's rights"
        );
    }
    Ok(connect)
}

/// What is in a database, found out without changing anything. An older log, or none, is a fault
/// unless the role may migrate or `others_migrate`.
pub(crate) async fn survey(
    url: &str,
    variable: &'static str,
    others_migrate: bool,
    limit: Duration,
) -> Result<DatabaseFound, Error> {
    let connect = options(url, variable)?;
    let address = address(&connect, variable);
    let silent = || address.explain(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    let looked = tokio::time::timeout(limit, look(&connect, &address, limit)).await;
    let look = looked.unwrap_or_else(|_| Err(silent()))?;
    if look.encoding != "UTF8" {
        return Err(Error::Log(OpenError::Encoding { found: look.encoding }));
    }
    match look.schema_version {
        found if found > SCHEMA_VERSION => {
            return Err(Error::Log(OpenError::SchemaNewer { found, known: SCHEMA_VERSION }));
        }
        found if found < SCHEMA_VERSION && !others_migrate && !look.may_migrate => {
            return Err(no_right_to_migrate(&look));
        }
        found if found == SCHEMA_VERSION => refuse_without_rights(&look, Access::Serve)?,
        // Whoever migrates gives the service its rights.
        _ => {}
    }
    Ok(DatabaseFound {
        address: address.address,
        name: address.name,
        role: look.role,
        version: look.version,
        encoding: look.encoding,
        schema_version: (look.schema_version > 0).then_some(look.schema_version),
        schema_version_needed: SCHEMA_VERSION,
    })
}

async fn look(
    connect: &PgConnectOptions,
    address: &Address,
    limit: Duration,
) -> Result<Look, Error> {
    let connection = tokio::time::timeout(limit, connect.connect())
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
    let mut connection = connection.map_err(|source| address.explain(source))?;
    let found = ask(&mut connection).await;
    // Whatever was found, the connection served its purpose.
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the first connection failed");
    }
    match found {
        Ok(Ok(look)) => Ok(look),
        Ok(Err(open)) => Err(Error::Log(open)),
        Err(source) => Err(address.explain(source)),
    }
}

async fn ask(connection: &mut PgConnection) -> Result<Result<Look, OpenError>, sqlx::Error> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::integer / 10000 as major,
                current_setting('server_version') as version,
                current_setting('server_encoding') as encoding,
                current_user::text as role,
                to_regclass('event_log.schema_migration') is not null as made,
                coalesce((select rolsuper or rolcreaterole from pg_roles
                           where rolname = current_user), false)
                    and has_database_privilege(current_database(), 'create') as may_migrate,
                to_regclass('event_log.log') is not null
                    and has_schema_privilege('event_log', 'usage') as enters,
                exists (select from pg_roles where rolname = $1) as has_service",
    )
    .bind(SERVICE_ROLE)
    .fetch_one(&mut *connection)
    .await?;
    let found: i32 = row.try_get("major")?;
    if found < 15 {
        return Ok(Err(OpenError::ServerTooOld { found }));
    }
    let made: bool = row.try_get("made")?;
    let enters: bool = row.try_get("enters")?;
    let mut look = Look {
        role: row.try_get("role")?,
        version: row.try_get("version")?,
        encoding: row.try_get("encoding")?,
        schema_version: 0,
        may_migrate: row.try_get("may_migrate")?,
        may_serve: false,
        reads_log: false,
        appends: false,
    };
    if row.try_get("has_service")? {
        let held = if found >= 16 { "set" } else { "member" };
        let sql = "select pg_has_role(current_user, $1, $2)";
        let query = sqlx::query_scalar(sql).bind(SERVICE_ROLE).bind(held);
        look.may_serve = query.fetch_one(&mut *connection).await?;
    }
    if made && enters {
        look.rights(connection).await?;
    }
    if made {
        look.schema_version = version(connection, look.may_serve).await?;
    }
    Ok(Ok(look))
}

impl Look {
    async fn rights(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let row = sqlx::query(
            "select has_table_privilege('event_log.log', 'select') as reads,
                    has_table_privilege('event_log.log_batch', 'select') as reads_batches,
                    exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                             where n.nspname = 'event_log' and p.proname = 'record_commands'
                               and has_function_privilege(p.oid, 'execute')) as appends",
        )
        .fetch_one(connection)
        .await?;
        self.reads_log = row.try_get("reads")? && row.try_get("reads_batches")?;
        self.appends = row.try_get("appends")?;
        Ok(())
    }
}

/// The schema version, read as the service where our own role may not.
async fn version(connection: &mut PgConnection, may_serve: bool) -> Result<i32, sqlx::Error> {
    if may_serve {
        sqlx::raw_sql("set role opscenter_service").execute(&mut *connection).await?;
    }
    let sql = "select coalesce(max(version), 0) from event_log.schema_migration";
    sqlx::query_scalar(sql).fetch_one(connection).await
}

fn options(url: &str, variable: &'static str) -> Result<PgConnectOptions, Error> {
    // The parser takes any scheme for a database.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Error::Url { variable });
    }
    url.parse().map_err(|_| Error::Url { variable })
}

fn address(connect: &PgConnectOptions, variable: &'static str) -> Address {
    let host = connect
        .get_socket()
        .map_or_else(|| connect.get_host().to_owned(), |path| path.display().to_string());
    let role = connect.get_username().to_owned();
    Address {
        address: format!("{host}:{}", connect.get_port()),
        name: connect.get_database().unwrap_or(&role).to_owned(),
        role,
        variable,
    }
}
