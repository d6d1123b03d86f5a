//! Each read model says what the domain says, and what an independent sum over the history says.

use crate::recording::{append_usage, record, usage_record};
use crate::town::Town;
use chrono::{DateTime, TimeDelta};
use domain::Instant;
use domain::access::security;
use domain::values::{Code, Credits, MicroDollars, OrganizationId};
use event_log::CommitMode;
use event_log::Position;
use projections::usage::Filter;
use projections::{
    Direction, PAGE_ROWS_MAX, Runtime, Scope, Walk, audit_trail, bill, catalogue, credit_statement,
    directory, purchases, services, usage,
};
use sqlx::PgPool;
use std::collections::BTreeMap;
use test_postgres::Server;
use uuid::Uuid;

/// Compares every read model with the town it was made from.
pub(crate) async fn agree(pool: &PgPool, town: &Town) {
    people(pool, town).await;
    for (id, house) in &town.houses {
        credits(pool, *id, &house.account).await;
        bills(pool, *id, &house.charges).await;
        let organization = directory::organization(pool, *id).await.unwrap().unwrap();
        let (tier, version) = house.organization.tier.clone().unwrap();
        assert_eq!(organization.status, house.organization.status.as_str());
        assert_eq!((organization.tier, organization.tier_version), (tier, version));
        let members = directory::members(pool, *id, &Walk::ascending(1_000)).await.unwrap();
        let members: BTreeMap<_, _> = members.iter().map(|row| (row.user_id, row.role)).collect();
        assert_eq!(members, house.organization.members);
        assert_eq!(usize::try_from(organization.members).unwrap(), members.len());
        let figures = usage::totals(pool, &Filter::of(*id)).await.unwrap();
        let figures: BTreeMap<Code, i64> =
            figures.into_iter().map(|figure| (figure.meter, figure.quantity)).collect();
        assert_eq!(figures, expected_usage(house.usage.iter().map(|(_, _, record)| record)));
    }
    for (id, purchase) in &town.purchases {
        let row = purchases::purchase(pool, *id).await.unwrap();
        // One that was refused before it began has no row.
        assert_eq!(row.map_or("unknown".to_owned(), |row| row.state), purchase.state());
    }
    for (id, service) in &town.services {
        let row = services::service(pool, *id).await.unwrap().unwrap();
        assert_eq!(row.is_registered, service.registered.is_some());
        let Some(action_id) = service.running.as_ref().map(|it| it.action_id).or(service.last)
        else {
            continue;
        };
        assert_eq!(row.last_action_id, Some(action_id));
        let action = services::action(pool, action_id).await.unwrap().unwrap();
        let is_over = action.ended_at.is_some();
        assert_eq!(is_over, service.running.is_none(), "{action:?}");
    }
}

async fn people(pool: &PgPool, town: &Town) {
    for (id, user) in &town.users {
        let row = directory::user(pool, *id).await.unwrap().unwrap();
        assert_eq!((row.status.as_str(), &row.roles), (user.status.as_str(), &user.roles));
    }
    for (id, key) in &town.api_keys {
        let public_part = &key.created.as_ref().unwrap().public_part;
        let row = directory::api_key_by_public_part(pool, public_part).await.unwrap().unwrap();
        assert_eq!((row.api_key_id, row.revoked_at.is_some()), (*id, key.revoked));
    }
}

async fn credits(pool: &PgPool, id: OrganizationId, account: &domain::credits::Account) {
    let Some(row) = credit_statement::balance(pool, id).await.unwrap() else {
        assert_eq!(account.grants.len(), 0);
        return;
    };
    assert_eq!((row.available, row.owed), (account.balance(), account.owed));
    assert_eq!(row.charged_through.0, account.charged_through);
    let sum = |all: &[Credits]| all.iter().map(|credits| credits.micro()).sum::<i64>();
    // What was ever issued is somewhere; what is owed was spent before it was paid for.
    let places = [row.available, row.held, row.consumed, row.expired, row.voided];
    assert_eq!(row.issued.micro(), sum(&places) - row.owed.micro());
    let grants = credit_statement::grants(pool, id, &Walk::ascending(PAGE_ROWS_MAX)).await.unwrap();
    let of_rows: Vec<_> = grants.iter().map(|row| (row.grant_id, row.remaining)).collect();
    let of_account: Vec<_> = account.grants.iter().map(|it| (it.grant_id, it.remaining)).collect();
    assert_eq!(of_rows, of_account);
    let holds =
        credit_statement::holds(pool, id, Some("placed"), &Walk::ascending(1_000)).await.unwrap();
    let mut holds: Vec<_> = holds.iter().map(|row| row.hold_id).collect();
    holds.sort();
    assert_eq!(holds, account.holds.keys().copied().collect::<Vec<_>>());
    let lines = credit_statement::statement(pool, id, None, &Walk::descending(PAGE_ROWS_MAX))
        .await
        .unwrap();
    let changes: Vec<Credits> = lines.iter().map(|line| line.change).collect();
    if lines.len() < PAGE_ROWS_MAX {
        assert_eq!(sum(&changes), row.available.micro());
    }
    assert_eq!((lines[0].balance, lines[0].owed), (row.available, row.owed));
}

async fn bills(pool: &PgPool, id: OrganizationId, charges: &[(String, MicroDollars)]) {
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    for (period, total) in charges {
        *expected.entry(period).or_default() += total.micro();
    }
    let periods = bill::periods(pool, id).await.unwrap();
    let of_rows: BTreeMap<&str, i64> =
        periods.iter().map(|row| (row.period.as_str(), row.charge.micro())).collect();
    assert_eq!(of_rows, expected);
    for period in &periods {
        let lines = bill::lines(pool, id, &period.period).await.unwrap();
        let records: i64 = lines.iter().map(|line| line.records + line.quarantined).sum();
        assert_eq!(records, period.records + period.quarantined);
    }
    for charge in bill::charges(pool, id, None, &Walk::descending(20)).await.unwrap() {
        let found = bill::charge_of_usage(pool, id, charge.last_usage).await.unwrap();
        assert_eq!(found, Some(charge.clone()));
        assert_eq!(bill::charge_by_id(pool, charge.charge_id).await.unwrap(), Some(charge));
    }
}

/// Adds usage up by itself: every meter of the test but one is a sum.
fn expected_usage<'a>(
    records: impl Iterator<Item = &'a domain::metering::UsageRecorded>,
) -> BTreeMap<Code, i64> {
    let (api_calls, largest): (Code, Code) =
        ("api_calls".parse().unwrap(), "concurrent_connections".parse().unwrap());
    let mut figures = BTreeMap::new();
    for record in records {
        if record.model.is_some() && !record.quantities.contains_key(&api_calls) {
            *figures.entry(api_calls.clone()).or_default() += 1;
        }
        for (meter, quantity) in &record.quantities {
            let quantity = i64::try_from(*quantity).unwrap();
            let figure: &mut i64 = figures.entry(meter.clone()).or_default();
            *figure = if *meter == largest { quantity.max(*figure) } else { *figure + quantity };
        }
    }
    figures
}

pub(crate) fn at(seconds: i64) -> Instant {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
}

#[tokio::test]
async fn usage_belongs_to_the_hour_in_which_it_occurred_whatever_the_order_of_arrival() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    Town::found(&log).await;
    let organizations = [1, 2].map(|id| OrganizationId::new(Uuid::from_u128(id)));
    let mut records: Vec<_> = (0..40_u16)
        .map(|number| {
            let occurred_at = at(i64::from(number) * 1_111);
            (occurred_at, usage_record(Uuid::from_u128(number.into()), number))
        })
        .collect();
    append_usage(&log, organizations[0], &records).await;
    records.reverse();
    let last = *append_usage(&log, organizations[1], &records).await.last().unwrap();
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&["usage"], last, crate::rebuilt::PATIENCE).await.unwrap();
    let mut hours = Vec::new();
    for organization in organizations {
        let filter = Filter::of(organization);
        let mut rows = usage::hours(log.pool(), &filter, &Walk::ascending(1_000)).await.unwrap();
        assert!(rows.len() > 30);
        assert!(rows.iter().all(|row| row.hour == usage::hour_of(row.hour)));
        rows.iter_mut().for_each(|row| row.organization_id = organizations[0]);
        hours.push(rows);
    }
    assert_eq!(hours[0], hours[1]);
    let first = usage::Filter {
        from: Some(usage::hour_of(at(0))),
        until: Some(usage::hour_of(at(0)) + TimeDelta::hours(1)),
        ..Filter::of(organizations[0])
    };
    let within = |(at, _): &&(Instant, _)| usage::hour_of(*at) == first.from.unwrap();
    let expected = expected_usage(records.iter().filter(within).map(|(_, record)| record));
    let figures = usage::totals(log.pool(), &first).await.unwrap();
    let figures = figures.into_iter().map(|figure| (figure.meter, figure.quantity)).collect();
    assert_eq!(expected, figures);
    runtime.stop().await;
}

#[tokio::test]
async fn the_audit_trail_has_one_entry_for_a_batch_and_says_what_was_denied() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let organization = OrganizationId::new(Uuid::from_u128(1));
    let records: Vec<_> =
        (0..7_u16).map(|it| (at(0), usage_record(Uuid::from_u128(it.into()), it))).collect();
    append_usage(&log, organization, &records).await;
    let denied = security::Event::from(security::CommandDenied {
        command: "grant_credits".to_owned(),
        target: "credit_account/org_1".to_owned(),
        permission: "billing:w".to_owned(),
        reason: "no role grants it".to_owned(),
        repeated: 0,
    });
    let stream = "security/denied".to_owned();
    let last = record(&log, Uuid::nil(), vec![(stream, denied.into())]).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&["audit_trail"], last, crate::rebuilt::PATIENCE).await.unwrap();
    let all = audit_trail::Filter::of(Scope::Everything);
    let entries = audit_trail::entries(log.pool(), &all, &Walk::descending(50)).await.unwrap();
    let [denial, batch] = entries.try_into().unwrap();
    assert_eq!((batch.events, batch.position.0, batch.last_position.0), (7, 1, 7));
    assert_eq!(batch.organization_id, Some(organization));
    assert_eq!((batch.action.as_str(), batch.target.as_str()), ("usage.record", "usage/test"));
    assert_eq!(batch.origin.as_deref(), Some("127.0.0.1"));
    assert_eq!((denial.result.as_str(), denial.position.0), ("denied", 8));
    assert_eq!(denial.target, "credit_account/org_1");
    assert_eq!(denial.command.as_deref(), Some("grant_credits"));
    assert_eq!(denial.reason.as_deref(), Some("billing:w: no role grants it"));
    for (action, found) in [("security.", 1), ("usage.record", 1), ("credit.", 0), ("usage", 0)] {
        let filter = audit_trail::Filter { action: Some(action.to_owned()), ..all.clone() };
        let entries =
            audit_trail::entries(log.pool(), &filter, &Walk::descending(50)).await.unwrap();
        assert_eq!(entries.len(), found, "{action}");
    }
    runtime.stop().await;
}

#[tokio::test]
async fn the_directory_has_no_secret_and_no_personal_data_in_the_clear() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    for step in [(0, 0, 0), (2, 0, 0), (13, 0, 1)] {
        town.step(&log, step).await;
    }
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&["directory"], town.last, crate::rebuilt::PATIENCE).await.unwrap();
    assert_eq!(town.api_keys.len(), 1);
    let hash = domain::identity::api_key::hash_secret("a secret");
    for rows in crate::dump::everything(log.pool()).await {
        for row in rows {
            assert!(!row.contains(&hash) && !row.contains("example.org"), "{row}");
        }
    }
    let user =
        directory::users(log.pool(), None, &Walk::ascending(10)).await.unwrap().pop().unwrap();
    assert_eq!(user.email.clear(), None);
    assert!(matches!(user.email, domain::Personal::Sealed(_)));
    runtime.stop().await;
}

#[tokio::test]
async fn the_catalogue_keeps_every_price_exactly() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    let names = ["catalogue", "directory"];
    runtime.progress().wait(&names, town.last, crate::rebuilt::PATIENCE).await.unwrap();
    let pool = log.pool();
    let model = catalogue::model(pool, &"gpt-4o".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(model.entry.tokens[0].input.to_string(), "0.0000025");
    assert_eq!(catalogue::meters(pool).await.unwrap().len(), 20);
    assert_eq!(catalogue::add_ons(pool).await.unwrap().len(), 9);
    assert_eq!(catalogue::credit_packs(pool).await.unwrap().len(), 4);
    let cards = catalogue::rate_cards(pool).await.unwrap();
    assert_eq!(cards[0].rates, domain::catalogue::standard::rates().unwrap());
    let tiers = directory::tier_versions(pool, None).await.unwrap();
    let standard = domain::catalogue::standard::tiers().unwrap();
    assert_eq!(tiers.len(), standard.len());
    for row in tiers {
        assert!(standard.iter().any(|(tier, terms)| *tier == row.tier && *terms == row.terms));
    }
    runtime.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_or_a_repeat() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    for number in 0..120_u8 {
        town.step(&log, (number, number, u16::from(number) * 499)).await;
    }
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&["audit_trail"], town.last, crate::rebuilt::PATIENCE).await.unwrap();
    let filter = audit_trail::Filter::of(Scope::Everything);
    let whole = audit_trail::entries(log.pool(), &filter, &Walk::descending(1_000)).await.unwrap();
    for mut walk in [Walk::descending(7), Walk::ascending(7)] {
        let mut paged = Vec::new();
        loop {
            let page = audit_trail::entries(log.pool(), &filter, &walk).await.unwrap();
            let Some(last) = page.last() else { break };
            walk.beyond = Some(last.position);
            paged.extend(page);
        }
        if walk.direction == Direction::Ascending {
            paged.reverse();
        }
        assert_eq!(paged, whole);
    }
    let events: i64 = whole.iter().map(|entry| entry.events).sum();
    assert_eq!(Position(events), town.last);
    for id in town.houses.keys() {
        let filter = audit_trail::Filter::of(Scope::Organization(*id));
        let entries =
            audit_trail::entries(log.pool(), &filter, &Walk::descending(1_000)).await.unwrap();
        assert!(entries.iter().all(|entry| entry.organization_id == Some(*id)));
        assert!(!entries.is_empty());
    }
    runtime.stop().await;
}
