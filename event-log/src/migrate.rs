//! Migration: makes the roles, the tables and the partitions of a log, and brings older ones on.
//!
//! Runs as a role that may create roles, usually the one that set the database up; the service's
//! own role cannot. Safe to run at any time, also by several processes at once. A migration that
//! was applied is never changed: its text is compared by checksum.

use crate::OpenError;
use crate::log::check_server;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $name, ".sql")),
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_tables"),
    migration!(2, "0002_guards_and_partitions"),
    migration!(3, "0003_append"),
    migration!(4, "0004_usage"),
    migration!(5, "0005_rights"),
    migration!(6, "0006_lone_commands"),
    migration!(7, "0007_evidence"),
    migration!(8, "0008_personal_data"),
    migration!(9, "0009_snapshots"),
    migration!(10, "0010_subject_vault"),
    migration!(11, "0011_archive"),
];

/// The schema version this program works with.
pub const SCHEMA_VERSION: i32 = 11;

/// How a new log is laid out; an existing one keeps what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Positions per partition.
    pub partition_rows: i64,
}

impl Default for Layout {
    /// One partition holds 2²⁴ events: a subtree of 256³ leaves.
    fn default() -> Self {
        Self { partition_rows: 1 << 24 }
    }
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The schema version before; zero for a new log.
    pub from: i32,
    /// The schema version now.
    pub to: i32,
}

/// Why a migration stopped. Each step is a transaction: what was reached before stays whole.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database is not one the log can live in.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The tables are newer than the program.
    #[error("the log has schema version {found}, newer than this program's {known}; update it")]
    Newer {
        /// What is there.
        found: i32,
        /// What this program knows.
        known: i32,
    },
    /// An applied migration is not the one this program carries.
    #[error("migration {name} was changed after it was applied; restore its text")]
    Changed {
        /// Which one.
        name: String,
    },
    /// A step failed.
    #[error("{step} failed; nothing of it was kept")]
    Step {
        /// Which step.
        step: String,
        /// What the database said.
        source: sqlx::Error,
    },
}

/// Makes or brings on the log of a database.
pub async fn migrate(owner: &PgConnectOptions) -> Result<Migrated, MigrateError> {
    migrate_with(owner, Layout::default()).await
}

/// Makes or brings on the log of a database; a new one gets this layout.
pub async fn migrate_with(
    owner: &PgConnectOptions,
    layout: Layout,
) -> Result<Migrated, MigrateError> {
    let mut connection = owner.clone().connect().await.map_err(OpenError::Unreachable)?;
    let result = migrate_on(&mut connection, layout).await;
    // Closing gives the lock back, too.
    connection.close().await.map_err(|source| step("closing the connection", source))?;
    result
}

async fn migrate_on(
    connection: &mut PgConnection,
    layout: Layout,
) -> Result<Migrated, MigrateError> {
    check_server(&mut *connection).await?;
    run(connection, "waiting for another migration", "select pg_advisory_lock(1869640547, 2)")
        .await?;
    run(connection, "making the roles", ROLES).await?;
    run(connection, "making the schemas", SCHEMAS).await?;
    let from = applied(connection).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        apply(connection, migration, layout).await?;
    }
    run(
        connection,
        "making the next partition",
        "set role opscenter_owner; select event_log.keep_partitions_ahead(); reset role",
    )
    .await?;
    Ok(Migrated { from, to: SCHEMA_VERSION })
}

/// Roles are the server's, not the database's: another database's migration may be making them
/// at this moment.
const ROLES: &str = "
do $$
begin
    begin
        create role opscenter_owner nologin;
    exception when duplicate_object or unique_violation then null;
    end;
    begin
        create role opscenter_service login;
    exception when duplicate_object or unique_violation then null;
    end;
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant opscenter_owner, opscenter_service to %I', current_user);
    end if;
end
$$;";

const SCHEMAS: &str = "
create schema if not exists event_log authorization opscenter_owner;
create schema if not exists read_model authorization opscenter_service;
set role opscenter_owner;
create table if not exists event_log.schema_migration (
    version    integer     primary key,
    name       text        not null,
    checksum   bytea       not null,
    applied_at timestamptz not null default clock_timestamp()
);
comment on table event_log.schema_migration is 'Which migrations this log has been through.';
reset role;";

/// The version reached, after making sure that what was applied is what this program carries.
async fn applied(connection: &mut PgConnection) -> Result<i32, MigrateError> {
    let rows =
        sqlx::query("select version, name, checksum from event_log.schema_migration order by 1")
            .fetch_all(connection)
            .await
            .map_err(|source| step("reading the schema version", source))?;
    let mut reached = 0;
    for row in rows {
        let read = |source| step("reading the schema version", source);
        let version: i32 = row.try_get("version").map_err(read)?;
        let name: String = row.try_get("name").map_err(read)?;
        let checksum: Vec<u8> = row.try_get("checksum").map_err(read)?;
        match MIGRATIONS.iter().find(|migration| migration.version == version) {
            None => {
                return Err(MigrateError::Newer { found: version, known: SCHEMA_VERSION });
            }
            Some(migration) if checksum_of(migration) != checksum => {
                return Err(MigrateError::Changed { name });
            }
            Some(_) => reached = version,
        }
    }
    Ok(reached)
}

async fn apply(
    connection: &mut PgConnection,
    migration: &Migration,
    layout: Layout,
) -> Result<(), MigrateError> {
    let failed = |source| step(&format!("migration {}", migration.name), source);
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::raw_sql("set local role opscenter_owner")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::raw_sql(migration.sql).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query(
        "insert into event_log.schema_migration (version, name, checksum) values ($1, $2, $3)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(checksum_of(migration))
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    if migration.version == 1 {
        sqlx::query("insert into event_log.setting values ('partition_rows', $1)")
            .bind(layout.partition_rows)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

async fn run(connection: &mut PgConnection, what: &str, sql: &str) -> Result<(), MigrateError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(|source| step(what, source))
}

fn checksum_of(migration: &Migration) -> Vec<u8> {
    Sha256::digest(migration.sql.as_bytes()).to_vec()
}

fn step(step: &str, source: sqlx::Error) -> MigrateError {
    MigrateError::Step { step: step.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, SCHEMA_VERSION};

    #[test]
    fn migrations_are_numbered_without_a_gap_and_the_last_is_the_schema_version() {
        let versions: Vec<i32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }
}
