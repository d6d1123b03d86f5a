//! Every column of every table of the log: one row of it is changed behind the log's back, and the
//! change is found at the right position, or there is a reason here why it cannot be.
//!
//! The columns come from the database, so that a new one fails until somebody says which it is.

use crate::server::{Server, said};
use crate::signed::{of_the_tree, with_witness};
use std::collections::BTreeSet;

/// History is guarded by triggers, which a superuser can switch off.
pub(crate) const UNGUARDED: &str = "set session_replication_role = replica; ";

/// What changes, and where that is to be found and as what; the place is asked of the database.
pub(crate) struct Change {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) sql: String,
    pub(crate) place: String,
    /// What `verify` ends with.
    pub(crate) code: i32,
}

impl Change {
    /// Found as wrongly signed.
    pub(crate) fn unsigned(self) -> Self {
        Self { code: UNSIGNED, ..self }
    }
}

/// What `verify` ends with when something was changed.
const CHANGED: i32 = 20;
const UNSIGNED: i32 = 21;

/// A column that no verification of the log can vouch for; `*` for all of a table.
const EXEMPT: [(&str, &str, &str); 16] = [
    ("archive", "*", "empty here; `archive.rs` changes bundles and what is known of them"),
    ("subject_vault", "*", "opens with the person's key or not at all; no event covers it (0038)"),
    ("tree", "singleton", "there is one row, whatever this says of it"),
    ("log_identity", "singleton", "there is one row, whatever this says of it"),
    ("checkpoint", "recorded_at", "when it was kept: nobody signs it, and nothing rests on it"),
    ("consumer", "*", "how far readers have come: their own work, and no part of history"),
    ("purgeable", "*", "what a later purge may take; what one took is in the log"),
    ("timer", "*", "what is to be appended later: no part of history yet"),
    ("snapshot", "*", "sealed, believed only when it fits the log, and may be thrown away"),
    ("pulse", "*", "means nothing: it is written to make a commit durable"),
    ("schema_migration", "*", "migration compares the texts and refuses a changed one by name"),
    ("command_receipt", "content_hash", "the content of a command is not in the log (0047)"),
    ("subject_key", "created_at", "nothing rests on it, and no event says it"),
    ("tag", "tenant", "any row at all is found: nothing writes tags"),
    ("tag", "tag", "any row at all is found: nothing writes tags"),
    ("tag", "type", "any row at all is found: nothing writes tags"),
];

/// The rows that are changed, as conditions and as positions.
const USAGE: &str = "(select min(first) + 5 from event_log.log_batch where last - first >= 50)";
const BATCH: &str = "(select min(first) from event_log.log_batch where last - first >= 50)";
const HEAD: &str = "(select max(last) from event_log.log_batch)";
/// An event that is not the first of its stream, and the last one of the log that is.
const STREAMED: &str = "(select max(position) from event_log.log where stream_version > 1)";
const STREAM: &str = "(select stream from event_log.log where position =
    (select max(position) from event_log.log where stream_version > 1))";
const RECEIPT: &str = "(select command_id from event_log.command_receipt where event_ids @>
    array[(select event_id from event_log.log where position =
           (select max(position) from event_log.log where stream_version > 1))])";
const RECEIVED: &str = "(select first from event_log.command_receipt where event_ids @>
    array[(select event_id from event_log.log where position =
           (select max(position) from event_log.log where stream_version > 1))])";
const SOURCE: &str = "(select source_id from event_log.usage_identity where position =
    (select min(first) + 5 from event_log.log_batch where last - first >= 50))";
const OF_SOURCE: &str = "(select min(position) from event_log.usage_identity where source_id =
    (select source_id from event_log.usage_identity where position =
     (select min(first) + 5 from event_log.log_batch where last - first >= 50)))";
const FOUNDED: &str =
    "(select min(position) from event_log.log where type = 'organization_created')";
const SLUG: &str = "scope = 'organization.slug' and holder = (select substr(stream, 14)
    from event_log.log where type = 'organization_created' order by position limit 1)";
const INVITED: &str = "(select min(position) from event_log.log where type = 'user_invited')";
const PERSON: &str = "(select subjects[1] from event_log.log where type = 'user_invited'
    order by position limit 1)";

pub(crate) fn change(
    table: &'static str,
    column: &'static str,
    to: &str,
    row: &str,
    place: &str,
) -> Change {
    let sql = format!("update event_log.{table} set {column} = {to} where {row}");
    Change { table, column, sql, place: place.to_owned(), code: CHANGED }
}

/// Changes of rows of the log itself and of its batches.
fn of_the_log() -> Vec<Change> {
    let usage = |column, to| change("log", column, to, &format!("position = {USAGE}"), USAGE);
    let batch = |column, to, place: &str| {
        change("log_batch", column, to, &format!("first = {BATCH}"), place)
    };
    let streamed = format!("position = {STREAMED}");
    vec![
        change("log", "position", "16000000", &format!("position = {HEAD}"), HEAD),
        usage("tenant", "gen_random_uuid()"),
        change("log", "stream", "'user/x'", &streamed, STREAMED),
        change("log", "stream_version", "stream_version + 1", &streamed, STREAMED),
        usage("type", "'usage_charged'"),
        usage("schema_version", "2"),
        usage("event_id", "gen_random_uuid()"),
        usage("recorded_at", "recorded_at + interval '1 microsecond'"),
        usage("occurred_at", "occurred_at + interval '1 microsecond'"),
        usage("actor", "'system/nobody'"),
        usage("causation", "gen_random_uuid()"),
        usage("correlation", "gen_random_uuid()"),
        usage("meta", "'x'"),
        usage("payload", "payload || ' '"),
        usage("meta_salt", "payload_salt"),
        usage("payload_salt", "meta_salt"),
        usage("subjects", "array[gen_random_uuid()]"),
        usage("payload_commit", "sha256(payload)"),
        usage("meta_commit", "sha256(meta)"),
        usage("event_hash", "sha256(event_hash)"),
        batch("first", "first + 1", BATCH),
        batch("last", "last - 1", BATCH),
        batch("recorded_at", "recorded_at + interval '1 microsecond'", BATCH),
        batch("chain", "sha256(chain)", BATCH),
    ]
}

/// Changes of rows of the tables that every append writes.
fn of_heads_and_receipts() -> Vec<Change> {
    let head =
        |column, to| change("stream_head", column, to, &format!("stream = {STREAM}"), STREAMED);
    let receipt = |column, to| {
        change("command_receipt", column, to, &format!("command_id = {RECEIPT}"), RECEIVED)
    };
    vec![
        head("stream", "stream || 'x'"),
        head("version", "version + 1"),
        head("position", "position - 1"),
        receipt("command_id", "gen_random_uuid()"),
        receipt("tenant", "gen_random_uuid()"),
        receipt("first", "first - 1"),
        receipt("last", "last + 1"),
        receipt("recorded_at", "recorded_at + interval '1 microsecond'"),
        receipt("event_ids", "array[gen_random_uuid()]"),
    ]
}

/// Changes of what keeps usage from being counted twice.
fn of_usage() -> Vec<Change> {
    let source =
        |column, to| change("usage_source", column, to, &format!("id = {SOURCE}"), OF_SOURCE);
    let identity =
        |column, to| change("usage_identity", column, to, &format!("position = {USAGE}"), USAGE);
    vec![
        source("id", "id + 1000"),
        source("tenant", "gen_random_uuid()"),
        source("source", "source || 'x'"),
        identity("source_id", "source_id + 1000"),
        identity("usage_id", "usage_id || 'x'"),
        identity("content", "gen_random_uuid()"),
        identity("position", "position + 1"),
    ]
}

/// Changes of all the others.
fn of_claims_keys_and_places() -> Vec<Change> {
    let claim = |column, to| change("claim", column, to, SLUG, FOUNDED);
    let partition = |column, to| change("log_partition", column, to, "number = 0", "1");
    let setting = |column, to| change("setting", column, to, "name = 'partition_rows'", "1");
    let key =
        |column, to| change("subject_key", column, to, &format!("subject = {PERSON}"), INVITED);
    vec![
        claim("tenant", "gen_random_uuid()"),
        claim("scope", "'user.email'"),
        claim("value_hash", "sha256(value_hash)"),
        claim("holder", "holder || 'x'"),
        claim("command_id", "gen_random_uuid()"),
        partition("number", "number + 7"),
        partition("first", "first + 1"),
        partition("last", "last - 1"),
        setting("name", "'rows'"),
        setting("value", "value + 1"),
        key("tenant", "gen_random_uuid()"),
        key("subject", "gen_random_uuid()"),
        key("wrapped", "set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)"),
        key("erased_at", "clock_timestamp()"),
    ]
}

/// Changes of rows of the tables beside the log.
fn beside_the_log() -> Vec<Change> {
    let mut changes = of_heads_and_receipts();
    changes.extend(of_usage());
    changes.extend(of_claims_keys_and_places());
    for change in &mut changes {
        let before = match (change.table, change.column) {
            ("usage_source", "id") => "alter table event_log.usage_source alter id drop identity; ",
            ("subject_key", "erased_at") => {
                "alter table event_log.subject_key drop constraint subject_key_check; "
            }
            _ => "",
        };
        change.sql.insert_str(0, before);
    }
    let sql = format!("insert into event_log.tag values (gen_random_uuid(), 'x', {USAGE}, 'y')");
    let place = USAGE.to_owned();
    changes.push(Change { table: "tag", column: "position", sql, place, code: CHANGED });
    changes
}

pub(crate) async fn each_is_found(server: &Server, changes: &[Change]) {
    let before = server.replay(&with_witness(&["verify", "--json"]));
    assert_eq!(before.code, 0, "{before:?}");
    for Change { table, column, sql, place, code } in changes {
        let position: i64 = server.ask(&format!("select ({place})::bigint")).await;
        server.execute("postgres", "drop database if exists tampered").await;
        server.execute("postgres", "create database tampered template opscenter").await;
        server.execute("tampered", &format!("{UNGUARDED}{sql}")).await;
        let said = server.replay_on("tampered", &with_witness(&["verify", "--json"]));
        assert_eq!(said.code, *code, "{table}.{column} unnoticed: {sql}\n{said:?}");
        assert_eq!(said.json()["first_bad_position"], position, "{table}.{column}\n{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_the_log_is_changed_or_has_a_reason_why_not() {
    let server = Server::start().await;
    let columns: Vec<String> = server
        .ask(
            "select array_agg(c.table_name || '.' || c.column_name)
               from information_schema.columns c
               join pg_class t on t.oid = format('event_log.%I', c.table_name)::regclass
              where c.table_schema = 'event_log' and t.relkind in ('r', 'p')
                and not t.relispartition",
        )
        .await;
    let mut left: BTreeSet<&str> = columns.iter().map(String::as_str).collect();
    for Change { table, column, .. } in
        of_the_log().into_iter().chain(beside_the_log()).chain(of_the_tree())
    {
        assert!(
            left.remove(&*format!("{table}.{column}")),
            "{table}.{column}: twice, or not there"
        );
    }
    for (table, column, reason) in EXEMPT {
        let of_it = |name: &str| match column {
            "*" => name.split_once('.').is_some_and(|(it, _)| it == table),
            _ => name == format!("{table}.{column}"),
        };
        let before = left.len();
        left.retain(|name| !of_it(name));
        assert!(left.len() < before, "{table}.{column} ({reason}) is of no column that is left");
    }
    assert!(left.is_empty(), "who notices when these are changed? {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_column_of_the_log_is_found_at_its_position() {
    let server = Server::start().await;
    each_is_found(&server, &of_the_log()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_column_beside_the_log_is_found_at_its_position() {
    let server = Server::start().await;
    each_is_found(&server, &beside_the_log()).await;
}

/// A row taken away.
pub(crate) fn removed(table: &'static str, row: &str, place: &str) -> Change {
    let sql = format!("delete from event_log.{table} where {row}");
    Change { table, column: "a row removed", sql, place: place.to_owned(), code: CHANGED }
}

/// A row that is there twice, for which whatever forbids that has to go first.
pub(crate) fn doubled(table: &'static str, constraints: &[&str], row: &str, place: &str) -> Change {
    let dropped: String = constraints
        .iter()
        .map(|name| format!("alter table event_log.{table} drop constraint {name} cascade; "))
        .collect();
    let sql = format!(
        "{dropped}create temp table copied as select * from event_log.{table} where {row};
         insert into event_log.{table} overriding system value select * from copied"
    );
    Change { table, column: "a row doubled", sql, place: place.to_owned(), code: CHANGED }
}

/// A row of somebody's own.
pub(crate) fn added(table: &'static str, values: &str, place: &str) -> Change {
    let sql = format!("insert into event_log.{table} select {values}");
    Change { table, column: "a row added", sql, place: place.to_owned(), code: CHANGED }
}

/// A column of two rows, each given what the other has.
pub(crate) fn swapped(
    table: &'static str,
    column: &str,
    key: &str,
    rows: [&str; 2],
    place: &str,
) -> Change {
    let [one, other] = rows;
    let value = |row: &str| format!("(select {column} from copied where {key} = {row})");
    let sql = format!(
        "create temp table copied as select * from event_log.{table};
         create temp table pair as select {one} as one, {other} as other;
         alter table event_log.{table} drop constraint {table}_pkey cascade;
         update event_log.{table} t set {column} = case when t.{key} = pair.one then {} else {} end
           from pair where t.{key} in (pair.one, pair.other)",
        value("pair.other"),
        value("pair.one"),
    );
    Change { table, column: "two rows swapped", sql, place: place.to_owned(), code: CHANGED }
}

/// Rows of heads, receipts and usage.
fn rows_of_appends() -> Vec<Change> {
    let next_usage = format!("({USAGE} + 1)");
    let other_stream = "(select stream from event_log.stream_head order by position limit 1)";
    let other_head = "(select min(position) from event_log.stream_head)";
    let other_receipt =
        "(select command_id from event_log.command_receipt where cardinality(event_ids) > 0
           order by first limit 1)";
    let other_source = "(select source_id from event_log.usage_identity where source_id <>
        (select source_id from event_log.usage_identity where position =
         (select min(first) + 5 from event_log.log_batch where last - first >= 50))
        order by position limit 1)";
    let (of_stream, of_receipt) = (format!("stream = {STREAM}"), format!("command_id = {RECEIPT}"));
    let (of_source, of_usage) = (format!("id = {SOURCE}"), format!("position = {USAGE}"));
    vec![
        removed("stream_head", &of_stream, STREAMED),
        doubled("stream_head", &["stream_head_pkey"], &of_stream, STREAMED),
        added("stream_head", "'thing/x', 1, 5", "5"),
        swapped("stream_head", "version", "stream", [STREAM, other_stream], other_head),
        removed("command_receipt", &of_receipt, RECEIVED),
        doubled("command_receipt", &["command_receipt_pkey"], &of_receipt, RECEIVED),
        added(
            "command_receipt",
            &format!(
                "gen_random_uuid(), tenant, content_hash, first, last, recorded_at, event_ids
                   from event_log.command_receipt where {of_receipt}"
            ),
            RECEIVED,
        ),
        swapped("command_receipt", "event_ids", "command_id", [RECEIPT, other_receipt], "1"),
        removed("usage_source", &of_source, OF_SOURCE),
        doubled(
            "usage_source",
            &["usage_source_pkey", "usage_source_tenant_source_key"],
            &of_source,
            OF_SOURCE,
        ),
        swapped(
            "usage_identity",
            "source_id",
            "position",
            [USAGE, "(select max(position) from event_log.usage_identity)"],
            USAGE,
        ),
        removed("usage_identity", &of_usage, USAGE),
        doubled("usage_identity", &["usage_identity_pkey"], &of_usage, USAGE),
        added("usage_identity", &format!("{other_source}, 'x', gen_random_uuid(), 1"), "1"),
        swapped("usage_identity", "usage_id", "position", [USAGE, &next_usage], USAGE),
    ]
}

/// Rows of everything else.
fn rows_of_claims_keys_and_places() -> Vec<Change> {
    let slugs = ["asc", "desc"].map(|order| {
        format!(
            "(select holder from event_log.claim c join event_log.log l
                on l.stream = 'organization/' || c.holder and l.stream_version = 1
               where scope = 'organization.slug' order by l.position {order} limit 1)"
        )
    });
    let other_person = "(select subjects[1] from event_log.log where type = 'user_invited'
        order by position desc limit 1)";
    let of_person = format!("subject = {PERSON}");
    vec![
        added("tag", "gen_random_uuid(), 'x', 7, 'y'", "7"),
        removed("claim", SLUG, FOUNDED),
        doubled("claim", &["claim_pkey"], SLUG, FOUNDED),
        added(
            "claim",
            &format!(
                "tenant, scope, sha256('x'), 'x', command_id from event_log.claim
                                  where {SLUG}"
            ),
            HEAD,
        ),
        swapped("claim", "command_id", "holder", [&slugs[0], &slugs[1]], FOUNDED),
        removed("log_partition", "number = 0", "1"),
        doubled(
            "log_partition",
            &["log_partition_pkey", "log_partition_first_key", "log_partition_last_key"],
            "number = 0",
            "1",
        ),
        added(
            "log_partition",
            "7, 7 * value + 1, 8 * value from event_log.setting",
            "(select 7 * value + 1 from event_log.setting)",
        ),
        removed("setting", "name = 'partition_rows'", "1"),
        doubled("setting", &["setting_pkey"], "name = 'partition_rows'", "1"),
        added("setting", "'x', 1", "1"),
        removed("subject_key", &of_person, INVITED),
        doubled("subject_key", &["subject_key_pkey"], &of_person, INVITED),
        swapped("subject_key", "wrapped", "subject", [PERSON, other_person], INVITED),
    ]
}

/// Rows removed, doubled, added and swapped. Not among them, for nothing in the log tells of them:
/// the receipt of a command that led to nothing, a source without records, and a key of a person
/// whom no event names.
fn rows_beside_the_log() -> Vec<Change> {
    let mut changes = rows_of_appends();
    changes.extend(rows_of_claims_keys_and_places());
    changes
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beside_the_log_that_were_removed_doubled_added_or_swapped_are_found() {
    let server = Server::start().await;
    each_is_found(&server, &rows_beside_the_log()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_alone_is_verified_when_only_that_is_asked() {
    let server = Server::start().await;
    server.execute("opscenter", &format!("{UNGUARDED}truncate event_log.claim")).await;
    let said = server.replay(&["verify"]);
    assert_eq!(said.code, CHANGED, "{said:?}");
    assert!(said.err.contains("claim has no row"), "{said:?}");
    let said = server.replay(&["verify", "--log-only"]).well();
    assert!(said.out.contains("The log is whole"), "{said:?}");
    assert!(!said.out.contains("beside"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_master_key_it_is_said_that_hashes_and_keys_were_not_looked_at() {
    let server = Server::start().await;
    let with = server.replay(&["verify", "--json"]).well().json();
    assert_eq!(with["beside"], "compared");
    let mut without = server.tool("opscenter");
    without.env("OPS_DATA", server.folder().join("elsewhere"));
    let without = said(without.arg("verify").output().unwrap()).well();
    assert!(without.out.contains("as far as can be told without a master key"), "{without:?}");
}
