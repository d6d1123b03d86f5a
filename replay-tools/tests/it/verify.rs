//! Every change behind the log's back is found, and the first position that is wrong is named.

use crate::server::{Said, Server, bare_tool, new_folder, said};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// History is guarded by triggers, which a superuser can switch off.
const UNGUARDED: &str = "set session_replication_role = replica; ";

/// A batch of bulk usage in the middle of the log, the last batch, and an event of a stream.
struct Places {
    first: i64,
    last: i64,
    tail: i64,
    head: i64,
    streamed: i64,
}

impl Places {
    async fn of(server: &Server) -> Self {
        let batch = "from event_log.log_batch where last - first >= 50 order by first limit 1";
        let first = server.ask(&format!("select first {batch}")).await;
        let last = server.ask(&format!("select last {batch}")).await;
        let tail = server.ask("select max(first) from event_log.log_batch").await;
        let head = server.ask("select max(last) from event_log.log_batch").await;
        let streamed = "select max(position) from event_log.log where stream_version > 1";
        Self { first, last, tail, head, streamed: server.ask(streamed).await }
    }
}

/// What somebody does, where it shows first, and what is said of it.
struct Tampering {
    sql: String,
    position: i64,
    says: &'static str,
}

fn tampering(sql: impl Into<String>, position: i64, says: &'static str) -> Tampering {
    Tampering { sql: sql.into(), position, says }
}

/// One edit of every column of a row of the log.
fn edits(places: &Places) -> Vec<Tampering> {
    let (edited, streamed) = (places.first + 5, places.streamed);
    let row = |change: &str| {
        let sql = format!("update event_log.log set {change} where position = {edited}");
        tampering(sql, edited, "does not have the hash")
    };
    let of_stream = |change: &str, says| {
        let sql = format!("update event_log.log set {change} where position = {streamed}");
        tampering(sql, streamed, says)
    };
    vec![
        row("payload = payload || ' '"),
        row("payload = overlay(payload placing '9' from 20)"),
        row("tenant = gen_random_uuid()"),
        row("type = 'usage_charged'"),
        row("schema_version = 2"),
        row("event_id = gen_random_uuid()"),
        row("occurred_at = occurred_at + interval '1 microsecond'"),
        row("occurred_at = 'infinity'"),
        row("actor = 'system/nobody'"),
        row("causation = null"),
        row("correlation = gen_random_uuid()"),
        row("meta = 'x'"),
        row("meta_salt = payload_salt"),
        row("payload_salt = '\\x00'"),
        row("subjects = array[gen_random_uuid()]"),
        row("event_hash = sha256('x')"),
        row("event_hash = ''"),
        row("stream = 'user/x', stream_version = 1"),
        tampering(
            format!("update event_log.log set recorded_at = now() where position = {edited}"),
            edited,
            "recorded time is not that of its batch",
        ),
        of_stream("stream_version = stream_version + 1", "should be at version"),
        of_stream("stream = 'user/x'", "does not have the hash"),
        of_stream("stream = null, stream_version = null", "does not have the hash"),
    ]
}

/// Rows and batches removed, added, moved.
fn moves(places: &Places) -> Vec<Tampering> {
    let Places { first, last, tail, head, .. } = *places;
    let (a, b) = (first + 2, first + 3);
    vec![
        tampering(
            format!(
                "update event_log.log set position = 16000000 where position = {a};
                 update event_log.log set position = {a} where position = {b};
                 update event_log.log set position = {b} where position = 16000000"
            ),
            first,
            "the chain does not follow",
        ),
        tampering(format!("delete from event_log.log where position = {a}"), a, "removed or moved"),
        tampering(
            format!(
                "delete from event_log.log where position = {a};
                 update event_log.log set position = position + 1000000 where position > {a};
                 update event_log.log set position = position - 1000001 where position > {a}"
            ),
            last,
            "recorded time is not that of its batch",
        ),
        tampering(
            format!(
                "alter table event_log.log drop constraint log_pkey;
                 insert into event_log.log select * from event_log.log where position = {a}"
            ),
            b,
            "stands here too",
        ),
        tampering(
            format!(
                "create temp table copied as select * from event_log.log where position = {a};
                 update copied set position = {head} + 1;
                 insert into event_log.log select * from copied"
            ),
            head + 1,
            "belong to no batch",
        ),
        tampering(
            format!("delete from event_log.log where position >= {tail}"),
            tail,
            "there is no event here",
        ),
        tampering(
            format!("update event_log.log set position = 16000000 where position = {head}"),
            head,
            "there is no event here",
        ),
    ]
}

fn batches(places: &Places) -> Vec<Tampering> {
    let Places { first, last, tail, .. } = *places;
    let batch = |change: &str, position, says| {
        let sql = format!("update event_log.log_batch set {change} where first = {first}");
        tampering(sql, position, says)
    };
    vec![
        batch("chain = sha256('x')", first, "the chain does not follow"),
        batch("recorded_at = recorded_at + interval '1 microsecond'", first, "recorded time"),
        batch("recorded_at = '2001-01-01'", first, "does not move forward"),
        batch("last = last - 1", first, "the chain does not follow"),
        batch("last = last + 1", last + 1, "recorded time"),
        batch("last = 9000000000000000000", first, "as no append does"),
        batch("first = first + 1", first, "a batch was removed"),
        tampering(
            format!("update event_log.log_batch set first = {last} where first = {last} + 1"),
            last,
            "overlaps",
        ),
        tampering(
            format!("delete from event_log.log_batch where first = {first}"),
            first,
            "a batch was removed",
        ),
        tampering(
            format!("delete from event_log.log_batch where first = {tail}"),
            tail,
            "belong to no batch",
        ),
        tampering(
            format!(
                "delete from event_log.log_batch where first = {last} + 1;
                 update event_log.log_batch set last =
                     (select min(first) - 1 from event_log.log_batch where first > {last})
                  where first = {first}"
            ),
            last + 1,
            "recorded time",
        ),
    ]
}

async fn tampered(server: &Server, sql: &str) {
    server.execute("postgres", "drop database if exists tampered").await;
    server.execute("postgres", "create database tampered template opscenter").await;
    server.execute("tampered", &format!("{UNGUARDED}{sql}")).await;
}

async fn each_is_found(server: &Server, list: Vec<Tampering>) {
    for Tampering { sql, position, says } in list {
        tampered(server, &sql).await;
        let said = server.replay_on("tampered", &["verify", "--json"]);
        assert_eq!(said.code, 20, "{sql}\n{said:?}");
        let answer = said.json();
        assert_eq!(answer["first_bad_position"], position, "{sql}\n{said:?}");
        assert!(answer["problem"].as_str().unwrap().contains(says), "{sql}\n{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_touched_is_whole() {
    let server = Server::start().await;
    let batches: i64 = server.ask("select count(*) from event_log.log_batch").await;
    let head = Places::of(&server).await.head;
    let chain = chain_at(&server, head).await;
    let answer = server.replay(&["verify", "--json"]).well().json();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["head"], head);
    assert_eq!(answer["events"], head);
    assert_eq!(answer["batches"], batches);
    assert_eq!(answer["chain"], chain.as_str());
    let people = server.replay(&["verify"]).well();
    assert!(people.out.contains(&chain) && people.out.contains("The log is whole"), "{people:?}");
}

async fn chain_at(server: &Server, head: i64) -> String {
    let sql = format!("select encode(chain, 'hex') from event_log.log_batch where last = {head}");
    server.ask(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_of_a_column_is_found_at_its_position() {
    let server = Server::start().await;
    let places = Places::of(&server).await;
    each_is_found(&server, edits(&places)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_added_or_moved_is_found_at_its_first_position() {
    let server = Server::start().await;
    let places = Places::of(&server).await;
    each_is_found(&server, moves(&places)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_batch_is_found_at_its_first_position() {
    let server = Server::start().await;
    let places = Places::of(&server).await;
    each_is_found(&server, batches(&places)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_tail_is_found_by_a_chain_that_was_noted_before() {
    let server = Server::start().await;
    let Places { tail, head, .. } = Places::of(&server).await;
    let chain = chain_at(&server, head).await;
    let before = chain_at(&server, tail - 1).await;
    let noted = [head.to_string(), (tail - 1).to_string(), (head - 1).to_string()];
    let expect = |head: &str, chain: &str| {
        ["verify", "--json", "--expect-head", head, "--expect-chain", chain].map(str::to_owned)
    };
    let ask = |database: &str, arguments: [String; 6]| {
        server.replay_on(database, &arguments.each_ref().map(String::as_str))
    };
    // A log that has only grown since is what it was.
    ask("opscenter", expect(&noted[0], &chain)).well();
    ask("opscenter", expect(&noted[1], &before)).well();
    let other = ask("opscenter", expect(&noted[1], &chain));
    assert_eq!(first_bad(&other), tail - 1, "{other:?}");
    let inside = ask("opscenter", expect(&noted[2], &chain));
    assert_eq!(first_bad(&inside), head - 1, "{inside:?}");

    let sql = "delete from event_log.log where position >= $; \
               delete from event_log.log_batch where first >= $";
    tampered(&server, &sql.replace('$', &tail.to_string())).await;
    server.replay_on("tampered", &["verify", "--log-only"]).well();
    let betrayed = server.replay_on("tampered", &["verify", "--json"]);
    assert_eq!(
        (betrayed.code, first_bad(&betrayed)),
        (22, tail.into()),
        "by the tree: {betrayed:?}"
    );
    let short = ask("tampered", expect(&noted[0], &chain));
    assert_eq!((short.code, first_bad(&short)), (22, tail.into()), "{short:?}");
    let by_chain = server.replay_on("tampered", &["verify", "--json", "--expect-chain", &chain]);
    assert_eq!(first_bad(&by_chain), tail - 1, "{by_chain:?}");
}

#[track_caller]
fn first_bad(said: &Said) -> Value {
    assert!([20, 22].contains(&said.code), "{said:?}");
    said.json()["first_bad_position"].clone()
}

/// The raw log as a file in a folder of its own.
fn exported(server: &Server) -> (PathBuf, String) {
    let folder = new_folder();
    let raw = server.replay(&["events", "--raw"]).well().out;
    let file = folder.join("log.jsonl");
    fs::write(&file, &raw).unwrap();
    (file, raw)
}

fn elsewhere(file: &Path) -> Said {
    said(bare_tool().args(["verify", "--json", "--from"]).arg(file).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_is_verified_on_a_machine_without_a_database() {
    let server = Server::start().await;
    let (file, raw) = exported(&server);
    let here = server.replay(&["verify", "--json"]).well().json();
    let there = elsewhere(&file).well().json();
    for name in ["head", "chain", "events", "batches"] {
        assert_eq!(here[name], there[name], "{name}");
    }
    let lines: Vec<&str> = raw.lines().collect();
    let middle = lines.len() / 2;
    let whole = |lines: Vec<&str>| lines.join("\n") + "\n";
    let edited = lines[middle].replacen("actor\":\"", "actor\":\"x", 1);
    let cut = lines[middle].split_at(40).0;
    for (what, text) in [
        ("an edit", whole([&lines[..middle], &[&edited], &lines[middle + 1..]].concat())),
        ("a removal", whole([&lines[..middle], &lines[middle + 1..]].concat())),
        ("a repeat", whole([&lines[..=middle], &lines[middle..]].concat())),
        ("a truncation", whole([&lines[..middle], &[cut]].concat())),
        ("a stranger", whole([&lines[..middle], &["{\"position\":1}"], &lines[middle..]].concat())),
    ] {
        assert_ne!(text, raw, "{what}");
        fs::write(&file, text).unwrap();
        let said = elsewhere(&file);
        let position = first_bad(&said).as_i64().unwrap();
        let expected: Value = serde_json::from_str(lines[middle]).unwrap();
        let expected = expected["position"].as_i64().unwrap();
        assert!((expected..=expected + 1).contains(&position), "{what}: {said:?}");
    }
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_is_verified_by_a_strangers_script() {
    let server = Server::start().await;
    let (file, raw) = exported(&server);
    let here = server.replay(&["verify", "--json"]).well().json();
    let script = verifiers().join("verify.py");
    let run = || {
        let mut python = Command::new("python3");
        said(python.arg(&script).stdin(File::open(&file).unwrap()).output().unwrap())
    };
    let ok = format!("ok {} {}\n", here["head"], here["chain"].as_str().unwrap());
    assert_eq!(run().well().out, ok);
    fs::write(&file, raw.replacen("\"actor\":\"system", "\"actor\":\"System", 1)).unwrap();
    assert_eq!(run().code, 1, "the script sees a changed letter");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

fn verifiers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../event-log/tests/verifiers")
}

#[test]
fn the_published_test_vectors_are_whole() {
    let said = elsewhere(&verifiers().join("vectors.jsonl")).well().json();
    assert_eq!(said["head"], 3);
    let chain = "3c7d4f9d4690a5a1695a2126c92a776f455cc53f1c25aaa914b019f2cf0de0b3";
    assert_eq!(said["chain"], chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_goes_on_where_another_ended_makes_one_file() {
    let server = Server::start().await;
    let Places { first, last, .. } = Places::of(&server).await;
    let (file, raw) = exported(&server);
    let rest = server.replay(&["events", "--raw", "--after", &last.to_string()]).well().out;
    assert!(raw.ends_with(&rest) && rest.len() < raw.len());
    let inside = server.replay(&["events", "--raw", "--after", &(first + 3).to_string()]);
    assert_eq!(inside.code, 2, "{inside:?}");
    assert!(inside.err.contains(&format!("go on after {} or {last}", first - 1)), "{inside:?}");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}
