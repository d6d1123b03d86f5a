//! What every start needs: the data folder, the keys, a PostgreSQL.

use super::check::{Check, Name};
use super::print::size;
use installation::survey::{self, DatabaseFound, KeyFound, PostgresFound};
use installation::{Error, Place};
use serde_json::{Value, json};
use std::time::Duration;

/// The folder is there or can be made, may be written to, and has room.
pub(super) async fn data_folder(place: &Place) -> Check {
    const NAME: Name = Name::DataFolder;
    let found = match survey::data_folder(place).await {
        Ok(found) => found,
        Err(error) => return Check::problem(NAME, &error).needed(true),
    };
    let mut text = found.path.display().to_string();
    if !found.exists {
        text.push_str(", not there yet");
    }
    text.push_str(&format!(", {} free", size(found.free_bytes)));
    let owner = found.running.as_ref().and_then(|running| running.owner);
    match (&found.running, owner) {
        (Some(_), Some(owner)) => text.push_str(&format!(", in use by process {owner}")),
        (Some(_), None) => text.push_str(", in use"),
        (None, _) => {}
    }
    let details = json!({
        "path": found.path,
        "exists": found.exists,
        "free_bytes": found.free_bytes,
        "in_use": found.running.is_some(),
        "owner_process": owner,
    });
    Check::ok(NAME, text, details).needed(true)
}

/// What opens personal data is there, or is made by the first start.
pub(super) async fn master_key(place: &Place) -> Check {
    key(Name::MasterKey, "OPS_MASTER_KEY", survey::master_key(place).await, "one")
}

/// What signs checkpoints is there, or is made by the first start.
pub(super) async fn log_keys(place: &Place) -> Check {
    key(Name::LogKeys, "OPS_LOG_KEYS", survey::log_keys(place).await, "them")
}

fn key(name: Name, variable: &str, found: Result<KeyFound, Error>, made: &str) -> Check {
    let (text, source, path) = match found {
        Ok(KeyFound::Environment) => (format!("in {variable}"), "environment", None),
        Ok(KeyFound::File { path }) => (path.display().to_string(), "file", Some(path)),
        Ok(KeyFound::NotYet { path }) => {
            let text = format!("none at {} yet, a start makes {made}", path.display());
            (text, "none", Some(path))
        }
        Err(error) => return Check::problem(name, &error).needed(true),
    };
    Check::ok(name, text, json!({ "source": source, "path": path })).needed(true)
}

/// The database that was named answers and fits, or there are programs for a private one.
pub(super) async fn postgres(place: &Place, limit: Duration) -> Check {
    const NAME: Name = Name::Postgresql;
    let (text, details) = match survey::postgres(place, limit).await {
        Ok(found) => described(&found),
        Err(error) => return Check::problem(NAME, &error).needed(true),
    };
    Check::ok(NAME, text, details).needed(true)
}

fn described(found: &PostgresFound) -> (String, Value) {
    match found {
        PostgresFound::Named(database) => {
            let text = format!(
                "{} at {}, database {:?} as {:?}, {}",
                database.version,
                database.address,
                database.name,
                database.role,
                contents(database)
            );
            (text, with_database(json!({ "kind": "named" }), Some(database)))
        }
        PostgresFound::Running { server, database } => {
            let process = server.pid();
            let text = match database {
                Some(database) => format!(
                    "private {}, runs as process {process}, {}",
                    database.version,
                    contents(database)
                ),
                None => format!("private, runs as process {process} and is still starting"),
            };
            let details = json!({ "kind": "private", "running": true, "process": process });
            (text, with_database(details, database.as_ref()))
        }
        PostgresFound::Stopped(programs) => {
            let folder = programs.folder.display();
            let made = match programs.made_by {
                Some(major) => format!("starts the cluster of version {major}"),
                None => "makes a new cluster at the first start".to_owned(),
            };
            let details = json!({
                "kind": "private",
                "running": false,
                "programs": programs.folder,
                "version": programs.version,
                "cluster_made_by": programs.made_by,
            });
            (format!("private {} in {folder}, {made}", programs.version), details)
        }
    }
}

fn contents(database: &DatabaseFound) -> String {
    let needed = database.schema_version_needed;
    let log = match database.schema_version {
        None => "no log yet, a start makes it".to_owned(),
        Some(found) if found < needed => {
            format!("log of schema version {found}, a start brings it to {needed}")
        }
        Some(found) => format!("log of schema version {found}"),
    };
    format!("{}, {log}", database.encoding)
}

fn with_database(mut details: Value, database: Option<&DatabaseFound>) -> Value {
    let Some(found) = database else { return details };
    let more = json!({
        "address": found.address,
        "database": found.name,
        "role": found.role,
        "version": found.version,
        "encoding": found.encoding,
        "schema_version": found.schema_version,
        "schema_version_needed": found.schema_version_needed,
    });
    if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
        details.extend(more);
    }
    details
}
