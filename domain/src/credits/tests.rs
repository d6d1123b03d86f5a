//! The rules of credits, each as a sentence.

use super::*;
use crate::Instant;
use crate::aggregate::testing::given;
use crate::aggregate::{Aggregate, fold};
use crate::catalogue::tier::CallPricing;
use crate::values::{
    Amount, ChargeId, Credits, GrantId, HoldId, MicroDollars, ModelName, SpendId, Text,
};
use chrono::DateTime;
use proptest::prelude::*;
use uuid::Uuid;

fn at(seconds: i64) -> Instant {
    DateTime::from_timestamp(seconds, 0).expect("a moment")
}

fn credits(whole: i64) -> Credits {
    Credits::from_whole(whole).expect("fits")
}

fn text(text: &str) -> Text {
    text.parse().expect("a text")
}

const fn grant_id(number: u128) -> GrantId {
    GrantId::new(Uuid::from_u128(number))
}

const fn hold_id(number: u128) -> HoldId {
    HoldId::new(Uuid::from_u128(number))
}

fn grant(number: u128, whole: i64) -> CreditsGranted {
    CreditsGranted {
        grant_id: grant_id(number),
        credits: credits(whole),
        kind: GrantKind::Purchased,
        source: GrantSource::Manual { reason: text("test") },
        priority: 100,
        effective_at: None,
        expires_at: None,
    }
}

fn spend(number: u128, whole: i64, seconds: i64) -> Command {
    Command::Spend {
        spend_id: SpendId::new(Uuid::from_u128(number)),
        credits: credits(whole),
        reason: text("test"),
        at: at(seconds),
    }
}

fn charge(lines: &[(i64, i64)], occurred: i64) -> Command {
    let model: ModelName = "gpt-4o".parse().expect("a model name");
    Command::ChargeUsage {
        charge: Box::new(Charge {
            charge_id: ChargeId::new(Uuid::from_u128(1)),
            period: "2026-11".to_owned(),
            occurred_at: at(occurred),
            tier: "free".parse().expect("a code"),
            tier_version: 1,
            rate_card_version: 1,
            pricing: CallPricing::Markup { percent: 0 },
            prices: vec![PriceUsed {
                model: Some(model),
                model_version: Some(1),
                power: Amount::ONE,
                unit_prices: [].into(),
            }],
            lines: lines
                .iter()
                .map(|(position, micro)| ChargeLine {
                    usage_position: *position,
                    verdict: Verdict::Rated {
                        price: 0,
                        exact: Amount::new(i128::from(*micro), 6).expect("in range"),
                        charge: MicroDollars::from_micro(*micro),
                    },
                })
                .collect(),
        }),
        at: at(occurred),
    }
}

fn after(account: Account, command: Command) -> Account {
    let events = account.decide(command).expect("the command to be accepted");
    events.iter().fold(account, Account::evolve)
}

#[test]
fn a_spend_beyond_the_balance_is_refused() {
    given::<Account>(&[grant(1, 3).into()])
        .when(spend(1, 4, 0))
        .refused(&Refusal::TooFew { available: credits(3), needed: credits(4) });
}

#[test]
fn a_spend_of_nothing_or_less_is_refused() {
    given::<Account>(&[grant(1, 3).into()]).when(spend(1, 0, 0)).refused(&Refusal::NotPositive);
    given::<Account>(&[grant(1, 3).into()]).when(spend(1, -1, 0)).refused(&Refusal::NotPositive);
}

#[test]
fn what_a_balance_cannot_cover_is_owed_and_new_credits_pay_it_first() {
    let account = fold::<Account>(&[grant(1, 1).into()]);
    let account = after(account, charge(&[(5, 1_500)], 0));
    assert_eq!((account.available(at(0)), account.owed), (Credits::ZERO, "0.5".parse().unwrap()));
    let account = after(account, Command::Grant { grant: Box::new(grant(2, 2)), at: at(1) });
    assert_eq!((account.available(at(1)), account.owed), ("1.5".parse().unwrap(), Credits::ZERO));
}

#[test]
fn usage_is_charged_once_however_often_it_is_delivered() {
    let account = fold::<Account>(&[grant(1, 10).into()]);
    let account = after(account, charge(&[(5, 1_000), (6, 1_000)], 0));
    assert_eq!(account.decide(charge(&[(5, 1_000), (6, 1_000)], 0)), Ok(vec![]));
    let account = after(account, charge(&[(6, 1_000), (7, 1_000)], 0));
    assert_eq!(account.available(at(0)), credits(7));
}

#[test]
fn an_expired_grant_pays_for_nothing_and_its_end_is_recorded() {
    let mut short = grant(1, 5);
    short.expires_at = Some(at(100));
    given::<Account>(&[short.clone().into()])
        .when(spend(1, 1, 100))
        .refused(&Refusal::TooFew { available: Credits::ZERO, needed: credits(1) });
    given::<Account>(&[short.into()])
        .when(Command::ExpireDue { at: at(100) })
        .happened(&[GrantExpired { grant_id: grant_id(1), credits: credits(5) }.into()]);
}

#[test]
fn a_grant_never_pays_for_what_occurred_before_it_was_effective() {
    let mut later = grant(1, 5);
    later.effective_at = Some(at(100));
    let account = after(fold(&[later.into()]), charge(&[(5, 1_000)], 99));
    assert_eq!((account.balance(), account.owed), (credits(5), credits(1)));
}

#[test]
fn promotional_credits_that_expire_soonest_are_spent_first() {
    let paid = grant(1, 5);
    let mut promotional = grant(2, 5);
    promotional.kind = GrantKind::Promotional;
    let mut soon = grant(3, 5);
    soon.expires_at = Some(at(1_000));
    let account = fold::<Account>(&[paid.into(), promotional.into(), soon.into()]);
    let account = after(account, spend(1, 12, 0));
    let left: Vec<Credits> = account.grants.iter().map(|grant| grant.remaining).collect();
    assert_eq!(left, [credits(3), Credits::ZERO, Credits::ZERO]);
}

#[test]
fn a_capture_beyond_the_hold_is_refused_and_the_rest_of_a_capture_is_free_again() {
    let place = Command::PlaceHold {
        hold_id: hold_id(1),
        credits: credits(4),
        expires_at: at(60),
        reason: text("a call"),
        at: at(0),
    };
    let account = after(fold(&[grant(1, 5).into()]), place);
    assert_eq!(account.available(at(0)), credits(1));
    let capture =
        |whole| Command::CaptureHold { hold_id: hold_id(1), credits: credits(whole), at: at(1) };
    assert_eq!(
        account.decide(capture(5)),
        Err(Refusal::BeyondHold { held: credits(4), wanted: credits(5) })
    );
    let account = after(account, capture(3));
    assert_eq!(account.available(at(1)), credits(2));
    assert_eq!(account.decide(capture(1)), Err(Refusal::NoSuchHold));
}

#[test]
fn a_forgotten_hold_is_free_again_when_its_time_is_over() {
    let place = Command::PlaceHold {
        hold_id: hold_id(1),
        credits: credits(4),
        expires_at: at(60),
        reason: text("a call"),
        at: at(0),
    };
    let account = after(fold(&[grant(1, 5).into()]), place);
    let account = after(account, spend(1, 5, 60));
    assert_eq!((account.available(at(60)), account.holds.len()), (Credits::ZERO, 0));
}

#[test]
fn only_what_is_unspent_of_a_grant_can_be_taken_back() {
    let account = after(fold(&[grant(1, 5).into()]), spend(1, 3, 0));
    let void = |whole| Command::Void {
        grant_id: grant_id(1),
        credits: credits(whole),
        reason: text("refund"),
        at: at(1),
    };
    assert_eq!(account.decide(void(3)), Err(Refusal::Spent { unspent: credits(2) }));
    assert_eq!(after(account, void(2)).balance(), Credits::ZERO);
}

fn any_command() -> impl Strategy<Value = Command> {
    let number = 1_u128..4;
    prop_oneof![
        (number.clone(), 1_i64..50, 0_i64..200, proptest::option::of(0_i64..200)).prop_map(
            |(number, whole, now, expiry)| {
                let mut granted = grant(number * 100 + u128::try_from(now).unwrap(), whole);
                granted.expires_at = expiry.map(at);
                Command::Grant { grant: Box::new(granted), at: at(now) }
            }
        ),
        (number.clone(), -1_i64..40, 0_i64..200).prop_map(|(n, whole, now)| spend(n, whole, now)),
        (1_i64..400, 0_i64..9_000, 0_i64..200)
            .prop_map(|(position, micro, now)| charge(&[(position, micro)], now)),
        (number.clone(), 1_i64..40, 0_i64..200, 0_i64..200).prop_map(|(n, whole, now, end)| {
            Command::PlaceHold {
                hold_id: hold_id(n),
                credits: credits(whole),
                expires_at: at(end),
                reason: text("a call"),
                at: at(now),
            }
        }),
        (number.clone(), 1_i64..40, 0_i64..200).prop_map(|(n, whole, now)| {
            Command::CaptureHold { hold_id: hold_id(n), credits: credits(whole), at: at(now) }
        }),
        (number, 0_i64..200)
            .prop_map(|(n, now)| Command::ReleaseHold { hold_id: hold_id(n), at: at(now) }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_nothing_is_overspent_and_every_event_balances(
        commands in proptest::collection::vec(any_command(), 1..60),
    ) {
        let mut account = Account::default();
        let mut ledger = ledger::Ledger::default();
        let mut sums = std::collections::BTreeMap::new();
        for command in commands {
            for event in account.decide(command).unwrap_or_default() {
                let entries = ledger.entries(&event);
                let net: i64 = entries.iter().map(|entry| entry.credits.micro()).sum();
                prop_assert_eq!(net, 0, "the entries of {:?} do not balance", event);
                for entry in entries {
                    *sums.entry(entry.account).or_insert(0_i64) += entry.credits.micro();
                }
                account = account.evolve(&event);
                for grant in &account.grants {
                    prop_assert!(grant.remaining >= Credits::ZERO, "{:?} is overspent", grant);
                }
            }
        }
        let sum = |of: ledger::SubAccount| sums.get(&of).copied().unwrap_or(0);
        let free = sum(ledger::SubAccount::Granted) + sum(ledger::SubAccount::Purchased);
        prop_assert_eq!(free, account.balance().micro());
        prop_assert_eq!(-sum(ledger::SubAccount::Receivable), account.owed.micro());
    }
}
