//! Order: dense, in one line, the same for everybody (I1, I2, I3), with one winner for each
//! version, condition and claim (I5).

use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Position, Receipt};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;
use test_postgres::Server;
use tokio::task::JoinSet;

/// Looks at the log over and over: what any look shows is a prefix without a hole.
async fn watch(log: EventLog, done: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    let mut seen = 0;
    while !done.load(Ordering::Acquire) {
        let (count, last): (i64, i64) =
            sqlx::query_as("select count(*), coalesce(max(position), 0) from event_log.log")
                .fetch_one(log.pool())
                .await
                .unwrap();
        assert_eq!(count, last, "a hole was visible");
        assert!(last >= seen, "the log went back");
        seen = last;
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_every_snapshot_is_a_prefix_without_holes_and_followers_agree() {
    let server = Server::start().await;
    for mode in MODES {
        // Two handles stand for two processes: each has its own queue and connections.
        let logs = [server.open(mode).await, server.open(mode).await];
        let start = logs[0].head().await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn(watch(logs[0].clone(), Arc::clone(&done)));
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let log = logs[writer % 2].clone();
            writers.spawn(async move {
                for turn in 0..20 {
                    if turn % 7 == 3 {
                        let id = format!("{mode:?}-{writer}-{turn}");
                        log.append_usage(usage("meter", &[(&id, "1"), (&id, "1")])).await.unwrap();
                    } else {
                        let name = format!("{mode:?}-{}", turn % 3);
                        accepted(&log, command(vec![on(&name, "a"), loose("b")])).await;
                    }
                }
            });
        }
        let goal = start.0 + 8 * (17 * 2 + 3);
        let follow = |log: EventLog| async move {
            let mut follower = log.follow(start);
            let mut ids = Vec::new();
            while follower.position().0 < goal {
                let page = follower.next_page(37).await.unwrap();
                ids.extend(page.into_iter().map(|event| (event.position, event.event_id)));
            }
            ids
        };
        let (one, other) = tokio::join!(follow(logs[0].clone()), follow(logs[1].clone()));
        assert_eq!(one, other);
        assert!(one.iter().map(|(position, _)| position.0).eq(start.0 + 1..=goal));
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(watcher.await.unwrap() > 0);
        assert_eq!(verified(&logs[0]).await, Position(goal));
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_what_was_acknowledged_comes_before_what_is_asked_afterwards() {
    let server = Server::start().await;
    for mode in MODES {
        let logs = [server.open(mode).await, server.open(mode).await];
        let acknowledged = Arc::new(AtomicI64::new(0));
        let mut writers = JoinSet::new();
        for writer in 0..6 {
            let (log, acknowledged) = (logs[writer % 2].clone(), Arc::clone(&acknowledged));
            writers.spawn(async move {
                for _ in 0..25 {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let receipt = accepted(&log, command(vec![loose("x")])).await;
                    assert!(receipt.first_position.0 > before);
                    acknowledged.fetch_max(receipt.last_position.0, Ordering::SeqCst);
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test]
async fn i3_what_fails_takes_no_position() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let first = accepted(&log, taking(1, "ada", command(vec![on("taken", "1")]))).await;
        let head = first.last_position;
        // A conflict, a claim in the way, an event in the way, a reused id, too much at once.
        refused(&log, expecting("taken", 0, command(vec![on("taken", "2")]))).await;
        refused(&log, taking(1, "bob", command(vec![loose("2")]))).await;
        let tagging = accepted(&log, command(vec![tagged(loose("t"), &["blue"])])).await;
        refused(&log, unless(&[], &["blue"], head, command(vec![loose("2")]))).await;
        let mut reuse = command(vec![loose("2")]);
        reuse.command.id = first.command_id;
        reuse.command.content_hash = [9; 32];
        refused(&log, reuse).await;
        refused(&log, command(vec![loose(vec![0; (1 << 20) + 1])])).await;
        // A client that gives up: its command may count or not, but leaves no hole.
        let abandoned = command(vec![loose("gone")]);
        drop(tokio::spawn({
            let log = log.clone();
            async move {
                let waited = tokio::time::timeout(std::time::Duration::ZERO, log.append(abandoned));
                let _either = waited.await;
            }
        }));
        let last = accepted(&log, command(vec![loose("3")])).await;
        let between = last.first_position.0 - tagging.last_position.0;
        assert!((1..=2).contains(&between), "{between}");
        log.close().await;
        let log = server.open(mode).await;
        verified(&log).await;
        log.append(releasing(1, "ada", command(vec![]))).await.unwrap();
        log.close().await;
    }
}

#[tokio::test]
async fn i3_a_killed_backend_and_a_statement_cut_short_take_no_position() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let before = accepted(&log, command(vec![loose("before")])).await;
        // Somebody holds the lock; the append waits for it and is killed there.
        let mut holder = server.superuser().await;
        sqlx::raw_sql("begin; select pg_advisory_xact_lock(1869640547, 1)")
            .execute(&mut holder)
            .await
            .unwrap();
        let pending = tokio::spawn({
            let log = log.clone();
            async move { log.append(command(vec![loose("killed and asked again")])).await }
        });
        let waiting = "from pg_stat_activity where wait_event_type = 'Lock' \
                       and application_name = 'opscenter append'";
        until_true(&server, &format!("select exists (select {waiting})")).await;
        server.execute(&format!("select pg_terminate_backend(pid) {waiting}")).await;
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
        let after = pending.await.unwrap().unwrap();
        assert_eq!(after.first_position, before.last_position.next());
        assert_eq!(verified(&log).await, after.last_position);
        log.close().await;
    }
}

/// Waits until a query says true.
pub(crate) async fn until_true(server: &Server, question: &str) {
    use sqlx::AssertSqlSafe;
    let mut connection = server.superuser().await;
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer: bool =
            sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut connection).await.unwrap();
        if answer {
            return;
        }
        assert!(Instant::now() < deadline, "never true: {question}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// One client's view of one attempt: when it asked, what it got, when it knew.
struct Attempt {
    asked: Instant,
    answered: Instant,
    seen: i64,
    outcome: Result<Receipt, AppendError>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_one_winner_for_each_version_and_the_histories_are_linearizable() {
    let server = Server::start().await;
    for mode in MODES {
        let logs = [server.open(mode).await, server.open(mode).await];
        let name = format!("{mode:?}");
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let (log, name) = (logs[client % 2].clone(), name.clone());
            clients.spawn(async move {
                let mut attempts = Vec::new();
                for _ in 0..12 {
                    let asked = Instant::now();
                    let head = log.stream_head(&stream(&name)).await.unwrap();
                    let seen = head.map_or(0, |(version, _)| version);
                    let outcome =
                        log.append(expecting(&name, seen, command(vec![on(&name, "x")]))).await;
                    attempts.push(Attempt { asked, answered: Instant::now(), seen, outcome });
                }
                attempts
            });
        }
        let mut attempts = Vec::new();
        while let Some(ended) = clients.join_next().await {
            attempts.extend(ended.unwrap());
        }
        check_linearizable(&attempts);
        let wins = attempts.iter().filter(|attempt| attempt.outcome.is_ok()).count();
        let versions = logs[0].read_stream(&stream(&name), 0, None).await.unwrap();
        assert_eq!(versions.len(), wins);
        for log in logs {
            log.close().await;
        }
    }
}

/// A stream whose version moves by compare-and-set is a register: each version is won once, the
/// order of versions agrees with the order in real time, and whoever lost had really been
/// overtaken before knowing.
fn check_linearizable(attempts: &[Attempt]) {
    let mut wins: HashMap<i64, &Attempt> = HashMap::new();
    for attempt in attempts {
        match &attempt.outcome {
            Ok(_) => assert!(wins.insert(attempt.seen, attempt).is_none(), "won twice"),
            Err(AppendError::Conflict { expected, actual, .. }) => {
                assert_eq!(*expected, attempt.seen);
                assert!(actual > expected);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    for (version, win) in &wins {
        if let Some(next) = wins.get(&(version + 1)) {
            assert!(win.asked < next.answered, "the later version was known before the earlier");
        }
        assert!(*version == 0 || wins.contains_key(&(version - 1)), "a version from nowhere");
    }
    for attempt in attempts {
        if let Err(AppendError::Conflict { actual, .. }) = &attempt.outcome {
            let overtaken = wins[&(actual - 1)];
            assert!(overtaken.asked < attempt.answered, "lost to somebody who had not begun");
        }
        // What was read before asking was written by somebody who had begun before it was read.
        if attempt.seen > 0 {
            assert!(wins[&(attempt.seen - 1)].asked < attempt.answered);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_one_winner_for_an_overlapping_condition_or_claim_and_no_error_for_the_rest() {
    let server = Server::start().await;
    for mode in MODES {
        let logs = [server.open(mode).await, server.open(mode).await];
        let head = logs[0].head().await.unwrap();
        let mut clients = JoinSet::new();
        for client in 0..24_u8 {
            let log = logs[usize::from(client % 2)].clone();
            clients.spawn(async move {
                let who = format!("{mode:?}-{client}");
                let with = |tags: &[&str]| command(vec![tagged(loose("x"), tags)]);
                match client % 3 {
                    0 => {
                        log.append(unless(
                            &["happened"],
                            &["red", "one"],
                            head,
                            with(&["red", "one"]),
                        ))
                        .await
                    }
                    1 => log.append(taking(7, &who, command(vec![on(&who, "x")]))).await,
                    _ => log.append(expecting(&who, 0, command(vec![on(&who, "x")]))).await,
                }
                .map_err(|error| (client, error))
            });
        }
        let mut wins = [0; 3];
        let mut winner = String::new();
        while let Some(ended) = clients.join_next().await {
            match ended.unwrap() {
                Ok(receipt) => {
                    let event = logs[0].event(receipt.first_position).await.unwrap().unwrap();
                    match event.stream {
                        None => wins[0] += 1,
                        Some(stream) => {
                            let client: u8 =
                                stream.id().rsplit_once('-').unwrap().1.parse().unwrap();
                            wins[usize::from(client % 3)] += 1;
                            if client % 3 == 1 {
                                winner = stream.id().to_owned();
                            }
                        }
                    }
                }
                Err((client, AppendError::ConditionFailed { position })) => {
                    assert!(client % 3 == 0 && position > head);
                }
                Err((client, AppendError::ClaimTaken { .. })) => assert_eq!(client % 3, 1),
                Err((_, other)) => panic!("{other:?}"),
            }
        }
        assert_eq!(wins, [1, 1, 8]);
        accepted(&logs[0], releasing(7, &winner, command(vec![]))).await;
        verified(&logs[0]).await;
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test]
async fn who_stops_in_the_middle_of_a_long_stretch_leaves_nothing_for_the_next_to_read() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    // More than the connection and the pages ahead can hold.
    let body = vec![b'x'; 20_000];
    for _ in 0..20 {
        let events = (0..100).map(|_| loose(body.clone())).collect();
        accepted(&log, command(events)).await;
    }
    let head = log.head().await.unwrap();
    for _ in 0..10 {
        let mut stretches = log.read_ahead(Position::START, head, None, 10);
        assert_eq!(stretches.recv().await.unwrap().unwrap().events.len(), 10);
        drop(stretches);
        // Whoever asks next may be given the same connection.
        assert_eq!(log.event(head).await.unwrap().unwrap().position, head);
        let mut whole = log.read_ahead(Position(head.0 - 50), head, None, 100);
        assert_eq!(whole.recv().await.unwrap().unwrap().events.len(), 50);
    }
    log.close().await;
}
