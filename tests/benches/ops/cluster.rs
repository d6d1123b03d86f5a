//! A durable Postgres for the benchmarks, and executors on it.

use commands::{Executor, SystemClock};
use event_log::{EventLog, KeyRing, Layout, MasterKey, Settings, migrate_with};
use private_postgres::{Mode, Options, PrivatePostgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _};
use std::path::PathBuf;
use std::sync::Arc;

/// A server with a migrated log, and tables to compare it with.
pub(crate) struct Cluster {
    postgres: PrivatePostgres,
    data: PathBuf,
}

/// Where data of benchmarks lies: on the disk that is measured, away from the sources.
pub(crate) fn folder() -> PathBuf {
    let folder = std::env::var_os("OPS_BENCH_DIR")
        .map_or_else(|| std::env::temp_dir().join("opscenter-bench"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("a folder for benchmarks");
    folder
}

impl Cluster {
    pub(crate) async fn start(name: &str) -> Self {
        Self::with_layout(name, Layout::default()).await
    }

    /// With partitions of another size.
    pub(crate) async fn with_layout(name: &str, layout: Layout) -> Self {
        let data = folder().join(format!("{name}-{}", std::process::id()));
        let postgres = PrivatePostgres::start(&Options::new(&data)).expect("a server");
        let cluster = Self { postgres, data };
        let owner = cluster.role(cluster.postgres.superuser());
        migrate_with(&owner, layout).await.expect("a migrated log");
        cluster
    }

    /// As somebody who may do anything.
    pub(crate) fn owner_url(&self) -> String {
        self.url(self.postgres.superuser())
    }

    pub(crate) fn url(&self, role: &str) -> String {
        self.postgres.connection_url(role)
    }

    fn role(&self, role: &str) -> PgConnectOptions {
        self.url(role).parse().expect("options")
    }

    /// A connection that may do anything.
    pub(crate) async fn connect(&self) -> PgConnection {
        self.role(self.postgres.superuser()).connect().await.expect("a connection")
    }

    pub(crate) async fn log(&self) -> EventLog {
        open_log(&self.url("opscenter_service")).await
    }

    pub(crate) async fn executor(&self) -> Executor {
        executor(&self.url("opscenter_service")).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("a statement");
        connection.close().await.expect("to close");
    }

    pub(crate) async fn setting(&self, name: &str) -> String {
        let mut connection = self.connect().await;
        sqlx::query_scalar("select current_setting($1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .expect("a setting")
    }

    /// What the next round starts from: nothing left to write.
    pub(crate) async fn settle(&self) {
        self.run("checkpoint").await;
    }

    pub(crate) fn stop(self) {
        self.postgres.stop(Mode::Fast);
        let _ = std::fs::remove_dir_all(self.data);
    }
}

pub(crate) async fn open_log(url: &str) -> EventLog {
    EventLog::connect(Settings::from_url(url).expect("a URL")).await.expect("a log")
}

pub(crate) async fn executor(url: &str) -> Executor {
    let log = open_log(url).await;
    let master = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let keys = KeyRing::open(&log, &master.expect("a key")).await.expect("keys");
    Executor::new(log, keys, Arc::new(SystemClock))
}

/// A table with the columns and the indexes of the log, for one-row-per-transaction inserts.
pub(crate) const LIKE_THE_LOG: &str = "
    drop table if exists plain;
    create table plain (
        position bigserial primary key, tenant uuid not null, stream text collate \"C\",
        stream_version bigint, type text collate \"C\" not null, schema_version smallint not null,
        event_id uuid not null, recorded_at timestamptz not null default now(),
        occurred_at timestamptz not null, actor text not null, causation uuid, correlation uuid,
        meta bytea not null, payload bytea not null, meta_salt bytea not null,
        payload_salt bytea not null, subjects uuid[] not null default '{}',
        event_hash bytea not null);
    create unique index on plain (stream, stream_version) where stream is not null;
    create index on plain (event_id) where stream is not null;";

/// One row of it.
pub(crate) const INSERT_PLAIN: &str = "
    insert into plain (tenant, stream, stream_version, type, schema_version, event_id, occurred_at,
        actor, causation, meta, payload, meta_salt, payload_salt, event_hash)
    values ($1, $2, $3, 'credits_spent', 1, $4, now(), 'system/bench', $5, $6, $7, $8, $8, $9)";
