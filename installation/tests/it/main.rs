//! Opening an installation at every kind of place, against real servers.
//!
//! Each test has a data folder of its own, and a server of its own where it names a database.
#![cfg(test)]

mod database;
mod folder;

use event_log::{Append, CommandKey, EventLog, NewEvent, Position};
use std::fs;
use std::path::PathBuf;
use uuid::Uuid;

/// A place for a data folder, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let unique = format!("installation-{}", Uuid::now_v7().simple());
        Self(std::env::temp_dir().join(unique))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// Records one event and answers its position.
async fn append(log: &EventLog) -> Position {
    let event = NewEvent {
        tenant: Uuid::nil(),
        stream: None,
        type_name: "happened".into(),
        schema_version: 1,
        event_id: Uuid::now_v7(),
        occurred_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        actor: "system/test".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: b"{}".to_vec(),
        tags: Vec::new(),
        subjects: Vec::new(),
    };
    let command = CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] };
    let append = Append {
        command,
        tenant: Uuid::nil(),
        conditions: Vec::new(),
        claims: Vec::new(),
        events: vec![event],
    };
    log.append(append).await.unwrap().last_position
}
