//! An event that cannot be taken in is never skipped: the read model stops, or sets the thing
//! aside.

use crate::rebuilt::PATIENCE;
use crate::recording::{record, record_newer};
use crate::tally::{ONE_AT_A_TIME, POISON, keyed, strict};
use domain::credits::{CreditsGranted, Event, GrantKind, GrantSource};
use domain::values::{Credits, GrantId, OrganizationId};
use event_log::CommitMode;
use event_log::{EventLog, Position};
use projections::rebuild::{Comparison, Promote, RebuildError, rebuild};
use projections::{Definition, Options, Runtime, Stale, State, parked, resume, retry, standings};
use std::time::Duration;
use test_postgres::Server;
use uuid::Uuid;

fn organization(number: u8) -> OrganizationId {
    OrganizationId::new(Uuid::from_u128(number.into()))
}

/// Grants a credit to each of these organizations in turn; answers the last position.
async fn grant(log: &EventLog, to: &[u8]) -> Position {
    let mut last = Position::START;
    for number in to {
        let id = organization(*number);
        let event = Event::from(CreditsGranted {
            grant_id: GrantId::new(Uuid::now_v7()),
            credits: Credits::from_micro(1),
            kind: GrantKind::Purchased,
            source: GrantSource::Manual { reason: "test".parse().unwrap() },
            priority: 1,
            effective_at: None,
            expires_at: None,
        });
        last = record(log, id.uuid(), vec![(format!("credit_account/{id}"), event.into())]).await;
    }
    last
}

fn poison(position: Option<i64>) {
    *POISON.lock().unwrap() = position;
}

async fn run(log: &EventLog, definition: Definition, page_events: usize) -> Runtime {
    let options = Options { page_events, look: Duration::from_millis(50), ..Options::default() };
    Runtime::start_with(log, vec![definition], options).await.unwrap()
}

async fn counts(log: &EventLog) -> Vec<(String, i64, i64)> {
    let sql = "select stream, events, last from read_model.tally order by stream";
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql).fetch_all(log.pool()).await.unwrap();
    rows
}

fn expected(rows: &[(u8, i64, i64)]) -> Vec<(String, i64, i64)> {
    let row = |(number, events, last): &(u8, i64, i64)| {
        (organization(*number).to_string(), *events, *last)
    };
    rows.iter().map(row).collect()
}

#[tokio::test]
async fn a_strict_read_model_stops_before_the_event_it_cannot_take_in_and_says_so() {
    let _one = ONE_AT_A_TIME.lock().await;
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    poison(Some(4));
    let last = grant(&log, &[1, 2, 1, 1, 2]).await;
    let runtime = run(&log, strict(), 100).await;
    let stale = runtime.progress().wait(&["tally"], last, PATIENCE).await.unwrap_err();
    let Stale::Stopped { position, .. } = stale else { panic!("{stale}") };
    assert_eq!(position, Position(3));
    // Half of the failed event's work is not there, and neither is anything behind it.
    assert_eq!(counts(&log).await, expected(&[(1, 2, 3), (2, 1, 2)]));
    let standing = standings(log.pool()).await.unwrap().pop().unwrap();
    assert_eq!((standing.state, standing.error_position), (State::Stopped, Some(Position(4))));
    assert_eq!(standing.error.as_deref(), Some("poison"));
    let error = rebuild(&log, &strict(), Promote::Always, &mut |_, _| ()).await.unwrap_err();
    assert!(matches!(error, RebuildError::Handler { position: Position(4), .. }), "{error}");
    poison(None);
    assert!(resume(log.pool(), "tally").await.unwrap());
    runtime.progress().wait(&["tally"], last, PATIENCE).await.unwrap();
    assert_eq!(counts(&log).await, expected(&[(1, 3, 4), (2, 2, 5)]));
    runtime.stop().await;
}

#[tokio::test]
async fn a_keyed_read_model_sets_one_thing_aside_and_takes_it_in_again_once_and_in_order() {
    let _one = ONE_AT_A_TIME.lock().await;
    for page_events in [1, 2, 100] {
        let server = Server::start().await;
        let log = server.open(CommitMode::default()).await;
        poison(Some(3));
        grant(&log, &[1, 2, 1, 2, 1]).await;
        let runtime = run(&log, keyed(), page_events).await;
        let last = grant(&log, &[1, 2]).await;
        runtime.progress().wait(&["tally"], last, PATIENCE).await.unwrap();
        // The other organization has all of its events, this one those before the poison.
        assert_eq!(counts(&log).await, expected(&[(1, 1, 1), (2, 3, 7)]));
        let set_aside = parked(log.pool(), "tally").await.unwrap();
        let positions: Vec<i64> = set_aside.iter().map(|it| it.position.0).collect();
        assert_eq!((positions, set_aside[0].error.as_str()), (vec![3, 5, 6], "poison"));
        // A rebuild sets the same aside.
        let rebuilt = rebuild(&log, &keyed(), Promote::IfEqual, &mut |_, _| ()).await.unwrap();
        assert_eq!((rebuilt.comparison, rebuilt.promoted), (Comparison::Equal, true));
        assert_eq!(parked(log.pool(), "tally").await.unwrap(), set_aside);
        let thing = set_aside[0].thing.clone();
        let again = retry(&log, &keyed(), &thing).await.unwrap();
        assert_eq!((again.applied, again.left, again.error.is_some()), (0, 3, true));
        assert_eq!(counts(&log).await, expected(&[(1, 1, 1), (2, 3, 7)]));
        poison(None);
        let again = retry(&log, &keyed(), &thing).await.unwrap();
        assert_eq!((again.applied, again.left, again.error), (3, 0, None));
        assert_eq!(counts(&log).await, expected(&[(1, 4, 6), (2, 3, 7)]));
        // What comes later goes on as ever.
        let last = grant(&log, &[1]).await;
        runtime.progress().wait(&["tally"], last, PATIENCE).await.unwrap();
        assert_eq!(counts(&log).await, expected(&[(1, 5, 8), (2, 3, 7)]));
        assert_eq!(parked(log.pool(), "tally").await.unwrap(), []);
        runtime.stop().await;
        let rebuilt = rebuild(&log, &keyed(), Promote::Never, &mut |_, _| ()).await.unwrap();
        assert_eq!(rebuilt.comparison, Comparison::Equal);
    }
}

#[tokio::test]
async fn an_event_of_an_unknown_version_stops_what_takes_it_and_names_the_version() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    grant(&log, &[1]).await;
    let id = organization(1);
    record_newer(&log, id.uuid(), &format!("credit_account/{id}")).await;
    let last = grant(&log, &[2]).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&["usage", "purchases"], last, PATIENCE).await.unwrap();
    for name in ["bill", "credit_statement", "audit_trail"] {
        let stale = runtime.progress().wait(&[name], last, PATIENCE).await.unwrap_err();
        let Stale::Stopped { position, .. } = stale else { panic!("{stale}") };
        assert_eq!(position, Position(1), "{name}");
    }
    let standings = standings(log.pool()).await.unwrap();
    let bill = standings.iter().find(|it| it.name == "bill").unwrap();
    assert!(bill.error.as_ref().unwrap().contains("version 99"), "{bill:?}");
    runtime.stop().await;
}
