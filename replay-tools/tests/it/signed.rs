//! The tree over the log and what was signed of it (I16, I17): every change of what is stored is
//! found, and so is a log that was cut off, set back, or written anew from somewhere on.

use crate::server::{Said, Server, new_folder, said};
use crate::tampering::{
    Change, UNGUARDED, added, change, doubled, each_is_found, removed, swapped,
};
use crate::world::{sign, witness};
use event_log::signing_keys::SIGNING_KEYS_FILE;
use event_log::tree::guard::GUARD_FILE;
use event_log::verify::{chain_next, micros};
use event_log::{EventLog, NewEvent, Position};
use installation::{Access, Installation, Place};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

/// The rows that are changed: the tile of events 257 to 512, and what was signed first and last.
const TILE: &str = "level = 0 and index = 1";
const FIRST: &str = "(select min(size) from event_log.checkpoint)";
const LAST: &str = "(select max(size) from event_log.checkpoint)";
const SIZE: &str = "(select size from event_log.tree)";
const TENANT: &str = "(select tenant from event_log.log where type = 'usage_recorded' limit 1)";
/// Where the tree has that organization's last event.
const OF_TENANT: &str = "(select max(position) from event_log.log where tenant =
    (select tenant from event_log.log where type = 'usage_recorded' limit 1))";

static WITNESS: LazyLock<String> = LazyLock::new(|| witness().verifier().to_string());

/// With the key that cosignatures are verified with.
pub(crate) fn with_witness(arguments: &[&'static str]) -> Vec<&'static str> {
    [arguments, &["--key", WITNESS.as_str()]].concat()
}

/// One bit of a column turned over.
fn bit(table: &'static str, column: &'static str, bit: &str, row: &str, place: &str) -> Change {
    let turned = format!("set_bit({column}, {bit}, 1 - get_bit({column}, {bit}))");
    change(table, column, &turned, row, place)
}

/// A letter of the last signature of a text put for another.
fn letter(table: &'static str, column: &'static str, row: &str, place: &str) -> Change {
    let other = format!(
        "overlay({column} placing (case substr({column}, length({column}) - 20, 1)
                                   when 'A' then 'B' else 'A' end)
                 from length({column}) - 20 for 1)"
    );
    change(table, column, &other, row, place).unsigned()
}

/// A change of every column of the tree and of what was signed.
pub(crate) fn of_the_tree() -> Vec<Change> {
    let edge = format!("({SIZE} / 256 * 256 + 1)");
    let first = format!("size = {FIRST}");
    let cosigned = format!("size = {LAST}");
    let tenant = format!("tenant = {TENANT}");
    vec![
        change("tile", "level", "1", TILE, "257"),
        change("tile", "index", "1000", TILE, "257"),
        bit("tile", "nodes", "37 * 256 + 3", TILE, "294"),
        bit("tile", "sequences", "5 * 64 + 56", TILE, "262"),
        change("tree", "size", "size - 1", "true", &format!("({SIZE} - 1)")),
        bit("tree", "edge", "8", "true", &edge),
        bit("tree", "sequences", "2 * 64 + 56", "true", &format!("({edge} + 2)")),
        change("tenant_head", "tenant", "gen_random_uuid()", &tenant, OF_TENANT),
        change("tenant_head", "count", "count + 1", &tenant, OF_TENANT),
        change("log_identity", "id", "gen_random_uuid()", "true", FIRST),
        change("checkpoint", "size", "size - 1", &first, &format!("({FIRST} - 1)")),
        bit("checkpoint", "root", "255", &first, FIRST),
        letter("checkpoint", "note", &first, FIRST),
        change("cosignature", "size", FIRST, &cosigned, FIRST).unsigned(),
        change("cosignature", "witness", "'somebody'", &cosigned, LAST),
        letter("cosignature", "line", &cosigned, LAST),
        change("cosignature", "signed_at", "signed_at + interval '1 second'", &cosigned, LAST),
    ]
}

/// More bits of what is stored as hashes, and other parts of what was signed.
fn more_of_the_tree() -> Vec<Change> {
    let (first, last) = (format!("size = {FIRST}"), format!("size = {LAST}"));
    let text = |from: &str, to: &str| format!("replace(note, {from}, {to})");
    let (row, end) = (SIZE, format!("(({SIZE} / 256) * 256 + 1)"));
    vec![
        bit("tile", "nodes", "0", TILE, "257"),
        bit("tile", "nodes", "65535", TILE, "512"),
        bit("tile", "sequences", "16383", TILE, "512"),
        change("tile", "nodes", "substr(nodes, 1, 8160)", TILE, "512"),
        change("tile", "sequences", "null", TILE, "257"),
        change("tree", "edge", "edge || '\\x00'", "true", row),
        change("tree", "edge", "''", "true", row),
        change("tree", "sequences", "''", "true", &end),
        change("checkpoint", "note", &text("'/epoch/1'", "'/epoch/2'"), &first, FIRST).unsigned(),
        change("checkpoint", "note", &text("'tenants '", "'Tenants '"), &last, LAST).unsigned(),
        change("checkpoint", "note", &text("E'\\n— '", "E'\\n- '"), &last, LAST),
        change("checkpoint", "note", "note || split_part(note, E'\\n\\n', 2)", &last, LAST)
            .unsigned(),
        change("checkpoint", "note", "note || '— x AAAAAAAA' || E'\\n'", &last, LAST).unsigned(),
    ]
}

/// Rows removed, doubled, added and swapped.
fn rows_of_the_tree() -> Vec<Change> {
    let (first, last) = (format!("size = {FIRST}"), format!("size = {LAST}"));
    let tenant = format!("tenant = {TENANT}");
    let copied = "'x', nodes, sequences from event_log.tile where level = 0 and index = 1";
    let head = "(select max(last) + 1 from event_log.log_batch)";
    let both = format!(
        "least({OF_TENANT}, (select max(position) from event_log.log where tenant = {NIL}))"
    );
    let swap = "create temp table copied as select * from event_log.tile;
        update event_log.tile t set nodes = c.nodes from copied c
         where t.level = 0 and t.index in (0, 1) and c.level = 0 and c.index = 1 - t.index";
    let tiles = Change { sql: swap.to_owned(), ..change("tile", "two rows", "", "", "1") };
    vec![
        removed("tile", TILE, "257"),
        doubled("tile", &["tile_pkey"], TILE, "257"),
        added("tile", &copied.replace("'x'", "0, 1000"), head),
        added("tile", &copied.replace("'x'", "32767, -9223372036854775808"), head),
        tiles,
        removed("tree", "true", "1"),
        doubled("tree", &["tree_pkey"], "true", "1"),
        removed("tenant_head", &tenant, OF_TENANT),
        doubled("tenant_head", &["tenant_head_pkey"], &tenant, OF_TENANT),
        added("tenant_head", "gen_random_uuid(), 1", SIZE),
        swapped("tenant_head", "count", "tenant", [TENANT, NIL], &both),
        removed("log_identity", "true", FIRST),
        doubled("log_identity", &["log_identity_pkey"], "true", "1"),
        // It was cosigned; without that, the guard's file is what remembers it.
        removed("checkpoint", &last, LAST),
        doubled("checkpoint", &["checkpoint_pkey"], &first, FIRST),
        added(
            "checkpoint",
            "size - 1, root, recorded_at, note from event_log.checkpoint
               where size = (select min(size) from event_log.checkpoint)",
            "(select min(size) - 1
               from event_log.checkpoint)",
        ),
        swapped("checkpoint", "note", "size", [FIRST, LAST], FIRST),
        doubled("cosignature", &["cosignature_pkey"], &last, LAST),
        added("cosignature", "size, 'somebody', line, signed_at from event_log.cosignature", LAST),
    ]
}

/// The platform's own events.
const NIL: &str = "'00000000-0000-0000-0000-000000000000'::uuid";

#[tokio::test(flavor = "multi_thread")]
async fn i16_a_change_of_any_column_of_the_tree_and_its_checkpoints_is_found_at_its_position() {
    let server = Server::start().await;
    each_is_found(&server, &of_the_tree()).await;
    each_is_found(&server, &more_of_the_tree()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i16_rows_of_the_tree_that_were_removed_doubled_added_or_swapped_are_found() {
    let server = Server::start().await;
    each_is_found(&server, &rows_of_the_tree()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_nobody_touched_is_the_one_its_events_give() {
    let server = Server::start().await;
    let head: i64 = server.ask("select max(last) from event_log.log_batch").await;
    let looked = &server.replay(&with_witness(&["verify", "--json"])).well().json()["tree"];
    let expected = serde_json::json!({
        "size": head, "checkpoints": 2, "verified": 2, "cosignatures": 1,
        "cosignatures_verified": 1, "guarded": head,
    });
    assert_eq!(*looked, expected);
    // Without keys and guard it is said what was not looked at.
    let without = from_elsewhere(&server, "opscenter", &[]);
    assert_eq!(without.code, 0, "{without:?}");
    assert!(without.out.contains("signatures verified: 0."), "{without:?}");
    assert!(without.out.contains("It was not compared with log-guard.json"), "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_a_guard_that_cannot_be_read_are_left_out_only_by_whoever_says_so() {
    let server = Server::start().await;
    for name in [SIGNING_KEYS_FILE, GUARD_FILE] {
        let path = server.folder().join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = server.replay(&["verify"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("--accept-unreadable"), "{refused:?}");
        server.replay(&["verify", "--accept-unreadable"]).well();
        server.replay(&["verify", "--log-only"]).well();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    server.replay(&["verify"]).well();
}

/// As somebody verifies it who has the master key and nothing of what was signed.
fn from_elsewhere(server: &Server, database: &str, arguments: &[&str]) -> Said {
    let folder = new_folder();
    fs::copy(server.folder().join("master.key"), folder.join("master.key")).unwrap();
    let mut tool = server.tool(database);
    tool.env("OPS_DATA", &folder).arg("verify").args(arguments);
    let said = said(tool.output().unwrap());
    fs::remove_dir_all(folder).unwrap();
    said
}

#[track_caller]
fn found(said: &Said, code: i32, position: i64) {
    assert_eq!(said.code, code, "{said:?}");
    assert_eq!(said.json()["first_bad_position"], position, "{said:?}");
}

/// Opens a copy of the database to append to it.
async fn open(server: &Server, database: &str) -> Installation {
    let place =
        Place { database_url: Some(server.url(database)), ..Place::folder(server.folder()) };
    Installation::open(&place, Access::Write).await.unwrap()
}

/// Records that many events of no stream.
async fn append(log: &EventLog, count: usize) {
    let event = NewEvent {
        tenant: uuid::Uuid::nil(),
        stream: None,
        type_name: "command_refused".into(),
        schema_version: 1,
        event_id: uuid::Uuid::nil(),
        occurred_at: "2026-12-02T10:00:00Z".parse().unwrap(),
        actor: "system/test".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: b"{}".to_vec(),
        tags: Vec::new(),
        subjects: Vec::new(),
    };
    for _ in 0..count {
        let event = NewEvent { event_id: uuid::Uuid::now_v7(), ..event.clone() };
        let key = event_log::CommandKey { id: uuid::Uuid::now_v7(), content_hash: [1; 32] };
        let command = event_log::Append {
            tenant: uuid::Uuid::nil(),
            events: vec![event],
            conditions: Vec::new(),
            claims: Vec::new(),
            command: key,
        };
        log.append(command).await.unwrap();
    }
}

/// A copy as it was, and then more that was signed; where the copy ends and where the log does.
async fn an_older_copy(server: &Server) -> (i64, i64) {
    let head = "select max(last) from event_log.log_batch";
    let before: i64 = server.ask(head).await;
    server.execute("postgres", "create database older template opscenter").await;
    let installation = server.open().await;
    append(installation.log(), 3).await;
    sign(&installation).await;
    installation.close().await;
    (before, server.ask(head).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_an_older_copy_is_found_by_what_was_signed_since() {
    let server = Server::start().await;
    let (before, head) = an_older_copy(&server).await;
    server.replay(&["verify"]).well();
    found(&server.replay_on("older", &["verify", "--json"]), 22, before + 1);
    // It is whole in itself: only what was signed and kept elsewhere tells.
    assert_eq!(from_elsewhere(&server, "older", &[]).code, 0);
    let file = server.folder().join("checkpoint.txt");
    let note: String =
        server.ask(&format!("select note from event_log.checkpoint where size = {head}")).await;
    fs::write(&file, &note).unwrap();
    let file = file.to_str().unwrap();
    let expect = ["--json", "--expect-checkpoint", file];
    found(&from_elsewhere(&server, "older", &expect), 22, before + 1);
    assert_eq!(from_elsewhere(&server, "opscenter", &expect).code, 0);
    // Nobody can make that up: what is not signed by the log counts for nothing.
    fs::write(file, note.replace("tenants ", "tenantz ")).unwrap();
    let forged = server.replay_on("older", &["verify", "--json", "--expect-checkpoint", file]);
    assert_eq!(forged.code, 22, "the guard tells in any case: {forged:?}");
    let forged = server.replay(&["verify", "--json", "--expect-checkpoint", file]);
    found(&forged, 21, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_a_forked_tail_is_found_behind_what_both_have() {
    let server = Server::start().await;
    let (before, _) = an_older_copy(&server).await;
    let forked = open(&server, "older").await;
    append(forked.log(), 5).await;
    forked.log().grow_tree().await.unwrap();
    forked.close().await;
    let log_only = server.replay_on("older", &["verify", "--log-only"]);
    assert_eq!(log_only.code, 0, "it is whole in itself: {log_only:?}");
    found(&server.replay_on("older", &["verify", "--json"]), 20, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_a_tail_that_was_cut_off_is_found_by_the_tree_or_by_a_checkpoint_below_it() {
    let server = Server::start().await;
    let tail: i64 = server.ask("select max(first) from event_log.log_batch").await;
    server.execute("postgres", "create database cut template opscenter").await;
    let cut = format!(
        "{UNGUARDED}delete from event_log.log where position >= {tail};
         delete from event_log.log_batch where first >= {tail}"
    );
    server.execute("cut", &cut).await;
    found(&from_elsewhere(&server, "cut", &["--json"]), 22, tail);
    // The tree taken away, too: the checkpoint is left.
    let felled = format!(
        "{UNGUARDED}delete from event_log.tile; delete from event_log.tenant_head;
         update event_log.tree set size = 0, edge = '', sequences = ''"
    );
    server.execute("cut", &felled).await;
    found(&from_elsewhere(&server, "cut", &["--json"]), 22, tail);
    // And that, too: the guard remembers.
    let unsigned = format!(
        "{UNGUARDED}delete from event_log.checkpoint where size >= {tail};
         delete from event_log.cosignature"
    );
    server.execute("cut", &unsigned).await;
    found(&server.replay_on("cut", &["verify", "--json"]), 22, tail);
}

/// Edits an event of a copy as a superuser who knows how everything is hashed: its hash, the chain
/// from there on and the whole tree are made anew.
async fn rewritten(server: &Server, position: i64) {
    server.execute("postgres", "create database rewritten template opscenter").await;
    let installation = open(server, "rewritten").await;
    let log = installation.log();
    let mut chain = None;
    let mut sql = UNGUARDED.to_owned();
    for batch in log.batches(Position::START, 100_000).await.unwrap() {
        let mut rows = log.raw_rows_of(&batch).await.unwrap();
        if batch.last < position {
            chain = Some(batch.chain);
            continue;
        }
        for row in rows.iter_mut().filter(|row| row.position == position) {
            row.payload.push(b' ');
            sql.push_str(&format!(
                "update event_log.log set payload = payload || ' ', event_hash = '\\x{}'
                  where position = {position}; ",
                data_encoding::HEXLOWER.encode(&row.hash())
            ));
        }
        let hashes: Vec<_> = rows.iter().map(event_log::verify::RawRow::hash).collect();
        let before = chain.unwrap().try_into().unwrap();
        let (count, at) = (i32::try_from(rows.len()).unwrap(), micros(batch.recorded_at));
        let next = chain_next(&before, batch.first, count, at, &hashes).to_vec();
        sql.push_str(&format!(
            "update event_log.log_batch set chain = '\\x{}' where first = {}; ",
            data_encoding::HEXLOWER.encode(&next),
            batch.first
        ));
        chain = Some(next);
    }
    sql.push_str(
        "delete from event_log.tile; delete from event_log.tenant_head;
         update event_log.tree set size = 0, edge = '', sequences = ''",
    );
    server.execute("rewritten", &sql).await;
    log.grow_tree().await.unwrap();
    installation.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_history_that_was_hashed_anew_is_found_behind_the_last_checkpoint_that_fits() {
    let server = Server::start().await;
    let first: i64 = server.ask(&format!("select {FIRST}")).await;
    let sql = format!(
        "select min(position) from event_log.log where stream is not null
                        and position > {first}"
    );
    rewritten(&server, server.ask(&sql).await).await;
    let log_only = server.replay_on("rewritten", &["verify", "--log-only"]);
    assert_eq!(log_only.code, 0, "it is whole in itself: {log_only:?}");
    found(&server.replay_on("rewritten", &["verify", "--json"]), 20, first + 1);
    // Who is not told what was signed sees it in the tables, signed or not.
    found(&from_elsewhere(&server, "rewritten", &["--json"]), 20, first + 1);
    let unsigned =
        format!("{UNGUARDED}delete from event_log.checkpoint; delete from event_log.cosignature");
    server.execute("rewritten", &unsigned).await;
    assert_eq!(from_elsewhere(&server, "rewritten", &[]).code, 0);
    // The guard's file alone is left, which does not know where it began to differ.
    found(&server.replay_on("rewritten", &["verify", "--json"]), 20, 1);
}
