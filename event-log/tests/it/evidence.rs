//! Evidence: a stranger's script agrees with what was recorded, and whatever is changed in the
//! database afterwards is found. Personal data can be destroyed without breaking either.

use crate::world::*;
use event_log::verify::{RawBatch, RawRow, Verifier, micros};
use event_log::{CommitMode, EventLog, KeyError, KeyRing, MasterKey, NewEvent, Opened, Position};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use test_postgres::Server;
use uuid::Uuid;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row and a batch as the lines that the stranger's script reads.
fn row_line(row: &RawRow) -> String {
    let id = |id: &Uuid| hex(id.as_bytes());
    let value = serde_json::json!({
        "position": row.position, "tenant": id(&row.tenant), "stream": row.stream,
        "stream_version": row.stream_version, "type": row.type_name,
        "schema_version": row.schema_version, "event_id": id(&row.event_id),
        "recorded_at": micros(row.recorded_at), "occurred_at": micros(row.occurred_at),
        "actor": row.actor, "causation": row.causation.as_ref().map(id),
        "correlation": row.correlation.as_ref().map(id), "meta": hex(&row.meta),
        "payload": hex(&row.payload), "meta_salt": hex(&row.meta_salt),
        "payload_salt": hex(&row.payload_salt),
        "subjects": row.subjects.iter().map(id).collect::<Vec<_>>(),
        "event_hash": hex(&row.event_hash),
    });
    value.to_string()
}

fn batch_line(batch: &RawBatch) -> String {
    let (recorded_at, chain) = (micros(batch.recorded_at), hex(&batch.chain));
    let (first, last) = (batch.first, batch.last);
    serde_json::json!({"first": first, "last": last, "recorded_at": recorded_at, "chain": chain})
        .to_string()
}

/// The whole log as lines: each batch, then its rows.
async fn lines(log: &EventLog) -> String {
    let mut text = String::new();
    for batch in log.batches(Position::START, 10_000).await.unwrap() {
        text.push_str(&(batch_line(&batch) + "\n"));
        for row in log.raw_rows_of(&batch).await.unwrap() {
            text.push_str(&(row_line(&row) + "\n"));
        }
    }
    text
}

/// Runs the stranger's script.
fn stranger(lines: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/verify.py");
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that has seen enough stops reading; what it says counts.
    let _cut_short = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait_with_output().unwrap()
}

fn vectors() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/vectors.jsonl");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_strangers_script_agrees_with_the_written_vectors() {
    let output = stranger(&vectors());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("ok 3 "), "{said}");
}

#[test]
fn a_strangers_script_finds_any_changed_value_in_the_vectors() {
    let good = vectors();
    let lines: Vec<serde_json::Value> =
        good.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // A batch and the row that has a value in every field.
    for (index, line) in lines.iter().enumerate().take(2) {
        for (key, value) in line.as_object().unwrap() {
            let changed = match value {
                serde_json::Value::Number(number) => (number.as_i64().unwrap() + 1).into(),
                serde_json::Value::String(text) if text.is_empty() => "00".into(),
                serde_json::Value::String(text) => {
                    let mut text = text.clone();
                    let last = text.pop();
                    text.push(if last == Some('0') { '1' } else { '0' });
                    text.into()
                }
                serde_json::Value::Null => match key.as_str() {
                    "stream_version" => 1.into(),
                    _ => "00".into(),
                },
                serde_json::Value::Array(list) => {
                    let mut list = list.clone();
                    list.push("00".repeat(16).into());
                    list.into()
                }
                other => panic!("{other}"),
            };
            let mut mutated = lines.clone();
            mutated[index][key] = changed;
            let text: String = mutated.iter().map(|line| format!("{line}\n")).collect();
            assert!(!stranger(&text).status.success(), "{key} of line {} may change", index + 1);
        }
    }
}

#[tokio::test]
async fn a_strangers_script_agrees_with_a_real_log_of_both_ways_to_commit() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let mut rich = on("rich", [0, 255, 10]);
        rich.causation = Some(Uuid::now_v7());
        rich.correlation = Some(Uuid::now_v7());
        rich.subjects = vec![Uuid::now_v7(), Uuid::now_v7()];
        rich.meta = b"{}".to_vec();
        rich.actor = "user/größe 🦄".to_owned();
        accepted(&log, command(vec![rich, loose("")])).await;
        // Before 1970, and finer than a microsecond.
        let old = "1969-12-31T23:59:59.9999995Z".parse().unwrap();
        accepted(&log, command(vec![NewEvent { occurred_at: old, ..loose("old") }])).await;
        log.append_usage(usage(&format!("{mode:?}"), &[("a", "1"), ("b", "2")])).await.unwrap();
        let output = stranger(&lines(&log).await);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        let head = verified(&log).await;
        assert!(said.starts_with(&format!("ok {head} ")), "{said}");
        log.close().await;
    }
}

/// The first thing that the verifier finds wrong, or nothing.
async fn finding(connection: &mut sqlx::PgConnection) -> Option<String> {
    let batches: Vec<RawBatch> = sqlx::query_as(
        "select first, last, recorded_at, chain from event_log.log_batch order by 1",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let mut rows: Vec<RawRow> = sqlx::query_as("select * from event_log.log order by position")
        .fetch_all(connection)
        .await
        .unwrap();
    let mut verifier = Verifier::new();
    for batch in &batches {
        let inside = rows.iter().take_while(|row| row.position <= batch.last).count();
        let of_batch: Vec<RawRow> = rows.drain(..inside).collect();
        if let Err(finding) = verifier.batch(batch, &of_batch) {
            return Some(finding.to_string());
        }
    }
    (!rows.is_empty()).then(|| "rows that no batch covers".to_owned())
}

/// What a superuser could do to the nine events in three batches.
fn forgeries() -> Vec<String> {
    let in_log = |what: &str| format!("update event_log.log set {what} where position = 5");
    let in_batch = |what: &str| format!("update event_log.log_batch set {what} where first = 4");
    let flip = "set_byte(%, 0, get_byte(%, 0) # 1)";
    let mut changes: Vec<String> = ["meta_salt", "payload_salt", "payload", "event_hash"]
        .map(|column| in_log(&format!("{column} = {}", flip.replace('%', column))))
        .into();
    changes.extend(
        [
            "tenant = gen_random_uuid()",
            "stream = 'thing/other'",
            "stream_version = 9",
            "stream = null, stream_version = null",
            "type = 'other'",
            "schema_version = 2",
            "event_id = gen_random_uuid()",
            "recorded_at = recorded_at + interval '1 microsecond'",
            "occurred_at = occurred_at + interval '1 microsecond'",
            "actor = 'user/eve'",
            "causation = gen_random_uuid()",
            "correlation = gen_random_uuid()",
            "meta = '\\x00'",
            "payload = ''",
            "subjects = array[gen_random_uuid()]",
            "position = 100",
        ]
        .map(in_log),
    );
    changes.extend(
        [
            "chain = set_byte(chain, 31, get_byte(chain, 31) # 128)",
            "recorded_at = recorded_at + interval '1 microsecond'",
            "last = 5",
            "first = 5",
        ]
        .map(in_batch),
    );
    changes.extend([
        "delete from event_log.log where position = 5".to_owned(),
        "delete from event_log.log where position = 9".to_owned(),
        "delete from event_log.log_batch where first = 4".to_owned(),
        "delete from event_log.log_batch where first = 7".to_owned(),
        "delete from event_log.log where position between 4 and 6;
         delete from event_log.log_batch where first = 4"
            .to_owned(),
        "insert into event_log.log select 10, tenant, stream, 7, type, schema_version, event_id,
            recorded_at, occurred_at, actor, causation, correlation, meta, payload, meta_salt,
            payload_salt, subjects, event_hash from event_log.log where position = 8"
            .to_owned(),
        // Two rows change places.
        "update event_log.log set position = 1000 where position = 3;
         update event_log.log set position = 3 where position = 6;
         update event_log.log set position = 6 where position = 1000"
            .to_owned(),
        // The content is changed and its hash made anew: the chain still knows.
        "update event_log.log set payload = 'forged', event_hash = sha256('forged')
          where position = 5"
            .to_owned(),
    ]);
    changes
}

#[tokio::test]
async fn every_change_that_a_superuser_makes_to_a_row_or_a_batch_is_found() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    for turn in 0..3 {
        let mut event = on("s", format!("{turn}"));
        event.causation = Some(Uuid::now_v7());
        accepted(&log, command(vec![event, on("s", "more"), loose("x")])).await;
    }
    log.close().await;
    let mut admin = server.superuser().await;
    assert_eq!(finding(&mut admin).await, None);
    for change in forgeries() {
        let mut transaction = admin.begin().await.unwrap();
        transaction.execute("set local session_replication_role = replica").await.unwrap();
        transaction.execute(AssertSqlSafe(change.as_str())).await.unwrap();
        assert!(finding(&mut transaction).await.is_some(), "not found: {change}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(finding(&mut admin).await, None);
}

#[tokio::test]
async fn personal_data_opens_for_its_subject_only_and_never_again_once_erased() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let folder = std::env::temp_dir().join(format!("event-log-key-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("master.key");
    let master = MasterKey::load_or_create(&path).unwrap();
    let ring = KeyRing::open(&log, &master).await.unwrap();
    let (ada, bob) = (Uuid::now_v7(), Uuid::now_v7());
    let sealed = ring.seal(TENANT, ada, b"ada@example.org").await.unwrap();
    let of_bob = ring.seal(TENANT, bob, b"bob@example.org").await.unwrap();
    assert!(!sealed.windows(7).any(|part| part == b"example"));
    // Another process, started later with the same key file.
    let later = KeyRing::open(&log, &MasterKey::load_or_create(&path).unwrap()).await.unwrap();
    let clear = Opened::Clear(b"ada@example.org".to_vec());
    assert_eq!(later.unseal(TENANT, ada, &sealed).await.unwrap(), clear);
    for (tenant, subject) in [(TENANT, bob), (Uuid::nil(), ada)] {
        let moved = later.unseal(tenant, subject, &sealed).await.unwrap_err();
        assert!(matches!(moved, KeyError::Damaged { .. }));
    }
    let mut bent = sealed.clone();
    *bent.last_mut().unwrap() ^= 1;
    assert!(matches!(ring.unseal(TENANT, ada, &bent).await, Err(KeyError::Damaged { .. })));
    // A different master key is noticed at once.
    let wrong = MasterKey::load_or_create(&folder.join("other.key")).unwrap();
    assert!(matches!(KeyRing::open(&log, &wrong).await, Err(KeyError::WrongMaster)));
    let event = NewEvent { subjects: vec![ada], ..on("person", sealed.clone()) };
    accepted(&log, command(vec![event])).await;
    assert!(ring.erase(TENANT, ada).await.unwrap());
    assert_eq!(ring.unseal(TENANT, ada, &sealed).await.unwrap(), Opened::Erased);
    let fresh = KeyRing::open(&log, &master).await.unwrap();
    assert_eq!(fresh.unseal(TENANT, ada, &sealed).await.unwrap(), Opened::Erased);
    assert!(matches!(fresh.seal(TENANT, ada, b"x").await, Err(KeyError::Erased { .. })));
    assert!(matches!(fresh.unseal(TENANT, bob, &of_bob).await.unwrap(), Opened::Clear(_)));
    // The log is as whole as before.
    assert_eq!(verified(&log).await, Position(1));
    // Equal values have equal stand-ins, in one scope only.
    assert_eq!(ring.blind("email", b"a"), fresh.blind("email", b"a"));
    assert_ne!(ring.blind("email", b"a"), ring.blind("emai", b"la"));
    log.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_master_key_that_others_can_read_or_that_is_cut_short_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("event-log-key-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("master.key");
    MasterKey::load_or_create(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = MasterKey::load_or_create(&path).unwrap_err();
    assert!(matches!(error, KeyError::Exposed { .. }));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "c2hvcnQ=\n").unwrap();
    assert!(matches!(MasterKey::load_or_create(&path), Err(KeyError::Malformed)));
    let missing = folder.join("nowhere/master.key");
    let error = MasterKey::load_or_create(&missing).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
