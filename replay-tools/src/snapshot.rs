//! One view of the log for as long as it is read, page by page.
//!
//! A purge takes bodies away and records that it did, in one step. Whoever reads some pages before
//! that step and others behind it would see bodies gone that nothing accounts for, or a purge of
//! bodies that are there. A transaction that sees what was there when it began sees neither.

use crate::Failure;
use event_log::EventLog;
use sqlx::Transaction;
use sqlx::postgres::{PgConnection, Postgres};

/// A log of any length may be read through; nothing is locked by it but the shape of tables.
const BEGIN: &str = "begin isolation level repeatable read read only; \
                     set local statement_timeout = 0; \
                     set local idle_in_transaction_session_timeout = 0";

/// The tables of the log as they were at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    transaction: Transaction<'static, Postgres>,
    log: EventLog,
}

impl Snapshot {
    /// What is there now.
    pub(crate) async fn take(log: &EventLog) -> Result<Self, Failure> {
        let mut transaction = log.pool().begin_with(BEGIN).await?;
        // The moment is that of the first statement, not of the beginning.
        sqlx::query("select 1").execute(&mut *transaction).await?;
        Ok(Self { transaction, log: log.clone() })
    }

    /// The log that it is a view of, for what never changes and for bodies in archives.
    pub(crate) const fn log(&self) -> &EventLog {
        &self.log
    }

    /// Where to ask.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;
    use crate::verify::Page;
    use crate::verify::tables::{Bounds, read};
    use event_log::verify::RawRow;
    use event_log::{Append, CommandKey, CommitMode, EventLog, NewEvent};
    use test_postgres::Server;
    use tokio::sync::mpsc;
    use uuid::Uuid;

    /// What a purge does to rows, by somebody who may do anything.
    const PURGE: &str = "set session_replication_role = replica;
        update event_log.log
           set payload_commit = sha256('\\x02'::bytea || payload_salt || payload),
               meta_commit = sha256('\\x03'::bytea || meta_salt || meta),
               payload = '', meta = '', payload_salt = '', meta_salt = ''
         where position <= 2";

    async fn append(log: &EventLog) {
        let event = NewEvent {
            tenant: Uuid::nil(),
            stream: None,
            type_name: "happened".into(),
            schema_version: 1,
            event_id: Uuid::now_v7(),
            occurred_at: "2026-12-01T10:00:00Z".parse().unwrap(),
            actor: "user/ada".to_owned(),
            causation: None,
            correlation: None,
            meta: Vec::new(),
            payload: b"a body".to_vec(),
            tags: Vec::new(),
            subjects: Vec::new(),
        };
        let command = CommandKey { id: Uuid::now_v7(), content_hash: [1; 32] };
        let (tenant, conditions, claims) = (Uuid::nil(), Vec::new(), Vec::new());
        let append = Append { command, tenant, conditions, claims, events: vec![event] };
        log.append(append).await.unwrap();
    }

    async fn rows(snapshot: &mut Snapshot, bounds: Bounds) -> Vec<RawRow> {
        let (sender, mut pages) = mpsc::channel(10);
        read(snapshot, bounds, 0, &sender).await.unwrap();
        drop(sender);
        let mut rows = Vec::new();
        while let Some(page) = pages.recv().await {
            match page {
                Page::Groups(groups) => rows.extend(groups.into_iter().flat_map(|(_, rows)| rows)),
                Page::Finding(finding) => panic!("{finding:?}"),
            }
        }
        rows
    }

    #[tokio::test]
    async fn who_began_to_read_before_a_purge_sees_bodies_and_who_began_after_it_its_record() {
        let server = Server::start().await;
        let log = server.open(CommitMode::Barrier).await;
        for _ in 0..3 {
            append(&log).await;
        }
        let mut before = Snapshot::take(&log).await.unwrap();
        server.execute(PURGE).await;
        append(&log).await;
        let bounds = Bounds::look(&mut before).await.unwrap();
        assert_eq!(bounds.head, 3);
        let seen = rows(&mut before, bounds).await;
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|row| !row.is_purged() && row.payload == b"a body"), "{seen:?}");
        drop(before);
        let mut after = Snapshot::take(&log).await.unwrap();
        let bounds = Bounds::look(&mut after).await.unwrap();
        assert_eq!(bounds.head, 4);
        let seen = rows(&mut after, bounds).await;
        let gone: Vec<bool> = seen.iter().map(RawRow::is_purged).collect();
        assert_eq!(gone, [true, true, false, false]);
        drop(after);
        log.close().await;
    }
}
