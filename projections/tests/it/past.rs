//! A read model built to a past position is what it was when the log ended there.

use crate::dump;
use crate::rebuilt::PATIENCE;
use crate::town::Town;
use event_log::CommitMode;
use event_log::{EventLog, Position};
use projections::rebuild::{RebuildError, build_to};
use projections::table::{Row, Table};
use projections::{
    Runtime, audit_trail, bill, catalogue, credit_statement, directory, purchases, services, usage,
};
use sqlx::{AssertSqlSafe, PgPool};
use test_postgres::Server;

const ROWS_MAX: usize = 100_000;

/// The rows of a table as readers see them, in the order of the keys.
async fn live<R: Row>(pool: &PgPool) -> Vec<R> {
    let (name, key) = (R::SPEC.name, R::SPEC.key.join(", "));
    let sql = format!("select row_to_json(t)::text from read_model.{name} t order by {key}");
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
    let mut rows: Vec<R> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    rows.sort_by_key(Row::key);
    rows
}

/// Rows in memory as the database keeps them: instants to the microsecond.
fn kept<R: Row>(table: &Table<R>) -> Vec<R> {
    table.rows().into_iter().cloned().collect()
}

macro_rules! each_table {
    ($do:ident) => {
        $do!(directory::Directory: users, organizations, members, roles, api_keys, tiers);
        $do!(catalogue::Catalogue: meters, models, add_ons, credit_packs, rate_cards);
        $do!(usage::Usage: hours, meters);
        $do!(credit_statement::CreditStatement: statement, balances, grants, holds);
        $do!(bill::Bill: lines, charges);
        $do!(purchases::Purchases: purchases);
        $do!(services::Services: services, actions);
        $do!(audit_trail::AuditTrail: entries);
    };
}

async fn same_at(log: &EventLog, now: &EventLog, position: Position) {
    macro_rules! compare {
        ($Projection:ty: $($table:ident),*) => {
            let rows = build_to::<$Projection>(log, position, ROWS_MAX).await.unwrap();
            $( assert_eq!(kept(&rows.$table), live(now.pool()).await, stringify!($table)); )*
        };
    }
    each_table!(compare);
}

#[tokio::test]
async fn as_of_a_position_is_what_a_rebuild_to_it_gives() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    for number in 0..120_u8 {
        town.step(&log, (number.wrapping_mul(3), number, u16::from(number).wrapping_mul(977)))
            .await;
        if number % 30 == 29 {
            // The log ends here: what is live is the answer for this position.
            runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
            assert_eq!(log.head().await.unwrap(), town.last);
            same_at(&log, &log, town.last).await;
        }
    }
    // The same question asked later has the same answer, whatever happened since.
    let before = town.last;
    let rows = build_to::<credit_statement::CreditStatement>(&log, before, ROWS_MAX).await.unwrap();
    for number in 0..60_u8 {
        town.step(&log, (number, number, u16::from(number) * 313)).await;
    }
    let later =
        build_to::<credit_statement::CreditStatement>(&log, before, ROWS_MAX).await.unwrap();
    assert_eq!(kept(&rows.balances), kept(&later.balances));
    assert_eq!(kept(&rows.statement), kept(&later.statement));
    let now = build_to::<credit_statement::CreditStatement>(&log, town.last, ROWS_MAX).await;
    assert_ne!(kept(&now.unwrap().statement), kept(&later.statement));
    runtime.stop().await;
}

#[tokio::test]
async fn a_copy_that_would_be_too_large_is_refused_with_its_size() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = Town::found(&log).await;
    let error = build_to::<catalogue::Catalogue>(&log, town.last, 10).await.unwrap_err();
    assert!(matches!(error, RebuildError::TooLarge { limit: 10, .. }), "{error}");
}
