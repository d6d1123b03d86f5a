//! Tables that keep every version of their rows say of any position what a rebuild to it says.

use crate::dump;
use crate::load::lively;
use crate::rebuilt::{PATIENCE, all_equal};
use crate::recording::record;
use crate::town::{Town, priced};
use chrono::TimeDelta;
use domain::catalogue::model;
use domain::values::Credits;
use event_log::{CommitMode, EventLog, Position};
use projections::rebuild::{Past, build_to};
use projections::table::{Row, Table};
use projections::{
    Definition, Options, Runtime, Scope, View, Walk, catalogue, credit_statement, directory,
};
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, PgPool};
use test_postgres::Server;
use uuid::Uuid;

const ROWS_MAX: usize = 100_000;

/// The versions of a table that were valid at a position, in the order of the keys.
async fn valid<R: Row>(pool: &PgPool, at: Position) -> Vec<R> {
    let history = R::SPEC.history.unwrap().name;
    let sql = format!(
        "select row_to_json(t)::text from read_model.{history} t
          where valid_from <= $1 and $1 < valid_to"
    );
    let rows: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(at).fetch_all(pool).await.unwrap();
    let mut rows: Vec<R> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    rows.sort_by_key(Row::key);
    rows
}

fn kept<R: Row>(table: &Table<R>) -> Vec<R> {
    table.rows().into_iter().cloned().collect()
}

/// Every table that keeps versions, with the read model it belongs to.
macro_rules! each_temporal {
    ($do:ident) => {
        $do!(directory::Directory: users, organizations, members, roles, api_keys, tiers);
        $do!(catalogue::Catalogue: meters, models, add_ons, credit_packs, rate_cards);
        $do!(credit_statement::CreditStatement: balances, grants, holds);
    };
}

/// A town with a history in which also prices change and memberships end, and which its read
/// models know.
async fn known_town(server: &Server, page_events: usize) -> (EventLog, Town) {
    let log = server.open(CommitMode::default()).await;
    let mut town = lively(&log).await;
    let options = Options { page_events, ..Options::default() };
    let definitions = projections::definitions();
    let runtime = Runtime::start_with(&log, definitions, options).await.unwrap();
    for number in 0..300_u16 {
        let [low, _] = number.to_le_bytes();
        town.step(&log, (low, low / 14, number.wrapping_mul(977))).await;
        if number.is_multiple_of(30) {
            let version = u32::from(number) / 30 + 2;
            let event = model::Event::from(model::ModelPriced { version, ..priced() }).into();
            let events = vec![("model/gpt-4o".to_owned(), event)];
            town.last = record(&log, Uuid::nil(), events).await;
        }
    }
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    (log, town)
}

#[test]
fn every_table_with_versions_is_among_those_that_are_compared_here() {
    let mut here = Vec::new();
    macro_rules! count {
        ($Projection:ty: $($table:ident),*) => {
            let definition = Definition::of::<$Projection>();
            here.push(([$(stringify!($table)),*].len(), definition));
        };
    }
    each_temporal!(count);
    let versions = |definition: &Definition| {
        definition.tables().iter().filter(|spec| spec.history.is_some()).count()
    };
    for (count, definition) in &here {
        assert_eq!(*count, versions(definition), "{}", definition.name);
    }
    let all: usize = projections::definitions().iter().map(versions).sum();
    assert_eq!(all, here.iter().map(|(count, _)| count).sum::<usize>());
}

/// I28: as of a position is what a rebuild to it gives, for random positions, whatever the pages in
/// which the history was taken in.
#[test]
fn i28_as_of_any_position_is_what_a_rebuild_to_it_gives() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    for page_events in [7, 2_000] {
        let (_server, log, town) = tokio.block_on(async {
            let server = Server::start().await;
            let (log, town) = known_town(&server, page_events).await;
            (server, log, town)
        });
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&(0..=town.last.0), |at| {
                tokio.block_on(async {
                    macro_rules! compare {
                        ($Projection:ty: $($table:ident),*) => {
                            let at = Position(at);
                            let rows = build_to::<$Projection>(&log, at, ROWS_MAX).await.unwrap();
                            $( assert_eq!(
                                kept(&rows.$table),
                                valid(log.pool(), at).await,
                                "{} at {at}", stringify!($table)
                            ); )*
                        };
                    }
                    each_temporal!(compare);
                });
                Ok(())
            })
            .unwrap();
        tokio.block_on(all_equal(&log));
    }
}

/// I28: what queries ask, at a thousand positions, against folds from the beginning of the log.
#[tokio::test]
async fn i28_a_thousand_questions_about_the_past_are_answered_as_a_fold_from_zero_answers_them() {
    let server = Server::start().await;
    let (log, town) = known_town(&server, 50).await;
    let mut seed = 11_u64;
    let mut positions: Vec<i64> = (0..1_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(seed >> 33).unwrap() % (town.last.0 + 1)
        })
        .collect();
    // The folds go through them in their order, from the first event to the last.
    positions.sort_unstable();
    let mut prices = Past::<catalogue::Catalogue>::begin();
    let mut people = Past::<directory::Directory>::begin();
    let mut credits = Past::<credit_statement::CreditStatement>::begin();
    for (turn, at) in positions.into_iter().map(Position).enumerate() {
        prices.go_to(&log, at, ROWS_MAX).await.unwrap();
        people.go_to(&log, at, ROWS_MAX).await.unwrap();
        credits.go_to(&log, at, ROWS_MAX).await.unwrap();
        let view = View::at(log.pool(), Some(at));
        same_prices(view, turn, prices.rows()).await;
        same_people(view, turn, people.rows(), &town).await;
        same_credits(view, turn, credits.rows(), &town).await;
    }
}

/// The questions take turns, so that each is asked at many positions.
async fn same_prices(view: View<'_>, turn: usize, then: &catalogue::Rows) {
    let all = &Walk::ascending(1_000);
    match turn % 6 {
        0 => assert_eq!(catalogue::models(view, None, all).await.unwrap(), kept(&then.models)),
        1 => {
            let model = catalogue::model(view, &"gpt-4o".parse().unwrap()).await.unwrap();
            assert_eq!(model.as_ref(), then.models.rows().first().copied());
        }
        2 => assert_eq!(catalogue::rate_cards(view).await.unwrap(), kept(&then.rate_cards)),
        3 => assert_eq!(catalogue::credit_packs(view).await.unwrap(), kept(&then.credit_packs)),
        4 => assert_eq!(catalogue::meters(view).await.unwrap(), kept(&then.meters)),
        _ => assert_eq!(catalogue::add_ons(view).await.unwrap(), kept(&then.add_ons)),
    }
}

async fn same_people(view: View<'_>, turn: usize, then: &directory::Rows, town: &Town) {
    let house = *town.houses.keys().next().unwrap();
    let all = &Walk::ascending(1_000);
    match turn % 7 {
        0 => assert_eq!(directory::tier_versions(view, None).await.unwrap(), kept(&then.tiers)),
        1 => assert_eq!(directory::roles(view).await.unwrap(), kept(&then.roles)),
        2 => assert_eq!(directory::users(view, None, all).await.unwrap(), kept(&then.users)),
        3 => {
            let all = &Walk::ascending(1_000);
            let found = directory::organizations(view, Scope::Everything, all).await.unwrap();
            assert_eq!(found, kept(&then.organizations));
        }
        4 => {
            let mut members = kept(&then.members);
            members.retain(|it| it.organization_id == house);
            assert_eq!(directory::members(view, house, all).await.unwrap(), members);
        }
        5 => {
            let Some(user) = then.members.rows().last().map(|it| it.user_id) else { return };
            let mut members = kept(&then.members);
            members.retain(|it| it.user_id == user);
            assert_eq!(directory::memberships(view, user).await.unwrap(), members);
        }
        _ => {
            let Some(user) = then.api_keys.rows().first().map(|it| it.user_id) else { return };
            let mut keys = kept(&then.api_keys);
            keys.retain(|it| it.user_id == user);
            assert_eq!(directory::api_keys_of_user(view, user).await.unwrap(), keys);
        }
    }
}

async fn same_credits(view: View<'_>, turn: usize, then: &credit_statement::Rows, town: &Town) {
    let house = *town.houses.keys().next().unwrap();
    let balances = kept(&then.balances);
    match turn % 5 {
        0 => {
            let all = &Walk::ascending(1_000);
            let found = credit_statement::balances(view, Scope::Everything, all).await.unwrap();
            assert_eq!(found, balances);
        }
        1 => {
            let sum = |figure: fn(&credit_statement::Balance) -> Credits| {
                balances.iter().fold(Credits::ZERO, |sum, it| sum.plus(figure(it)).unwrap())
            };
            let sums = credit_statement::sums(view).await.unwrap();
            assert_eq!(usize::try_from(sums.organizations).unwrap(), balances.len());
            let expected = (sum(|it| it.available), sum(|it| it.owed));
            assert_eq!((sums.available, sums.owed), expected);
        }
        2 => {
            let balance = balances.iter().find(|it| it.organization_id == house);
            assert_eq!(credit_statement::balance(view, house).await.unwrap().as_ref(), balance);
        }
        3 => {
            let mut grants = kept(&then.grants);
            grants.retain(|it| it.organization_id == house);
            grants.sort_by_key(|it| it.granted_position);
            let all = &Walk::ascending(1_000);
            assert_eq!(credit_statement::grants(view, house, all).await.unwrap(), grants);
        }
        _ => {
            let mut holds = kept(&then.holds);
            holds.retain(|it| it.organization_id == house);
            let all = &Walk::ascending(1_000);
            assert_eq!(credit_statement::holds(view, house, None, all).await.unwrap(), holds);
        }
    }
}

/// I28: a time stands for the last position recorded at or before it, and both ends of what an
/// event made are where they should be.
#[tokio::test]
async fn i28_a_version_begins_with_its_event_and_a_time_includes_what_was_recorded_at_it() {
    let server = Server::start().await;
    let (log, town) = known_town(&server, 50).await;
    let name = "gpt-4o".parse().unwrap();
    let sql = "select position from event_log.log where type = 'model_priced' order by position";
    let priced: Vec<i64> = sqlx::query_scalar(sql).fetch_all(log.pool()).await.unwrap();
    assert!(priced.len() > 5);
    let version = async |at: Position| {
        let model = catalogue::model(View::at(log.pool(), Some(at)), &name).await.unwrap();
        model.map(|it| it.version)
    };
    for (number, position) in (1_u32..).zip(priced) {
        let at = Position(position);
        assert_eq!(version(at).await, Some(number));
        let before = (number > 1).then(|| number - 1);
        assert_eq!(version(Position(position - 1)).await, before);
        // Whatever was recorded in the same instant belongs to it.
        let then = log.recorded_at(at).await.unwrap().unwrap();
        assert_eq!(version(log.position_at(then).await.unwrap()).await, Some(number));
        let earlier = then - TimeDelta::microseconds(1);
        let mapped = log.position_at(earlier).await.unwrap();
        assert!(mapped < at);
        assert_eq!(version(mapped).await, before);
    }
    assert_eq!(version(Position::START).await, None);
    let now = catalogue::model(log.pool(), &name).await.unwrap().map(|it| it.version);
    assert_eq!(version(town.last).await, now);
}
