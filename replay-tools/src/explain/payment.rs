//! What paid for a charge: decided again from the account as it was just before.

use crate::Failure;
use crate::history::{decode, stream_page};
use domain::Aggregate;
use domain::credits::{
    Account, Charge, Command, Consumed, Event as CreditEvent, GrantKind, GrantSource, UsageCharged,
};
use domain::values::{Credits, GrantId};
use event_log::{EventLog, Recorded, StreamId};
use serde::Serialize;

/// How many events of the account are held at once; a charge may be long.
const PAGE: i64 = 50;

/// Credits of one grant that paid.
#[derive(Debug, Serialize)]
pub(super) struct Payment {
    pub(super) grant_id: GrantId,
    pub(super) credits: Credits,
    pub(super) kind: Option<GrantKind>,
    pub(super) source: Option<GrantSource>,
}

/// Says what paid, and what of it differs from what the rules give.
pub(super) async fn check(
    log: &EventLog,
    recorded: &Recorded,
    charge: &UsageCharged,
    differences: &mut Vec<String>,
) -> Result<Vec<Payment>, Failure> {
    let (Some(stream), Some(version)) = (&recorded.stream, recorded.stream_version) else {
        return Err(Failure::Problem(format!(
            "the charge at position {} stands on no account",
            recorded.position
        )));
    };
    let account = account_before(log, stream, version, recorded).await?;
    differences.extend(again(&account, recorded, charge));
    let payment = |part: &Consumed| {
        let grant = account.grants.iter().find(|grant| grant.grant_id == part.grant_id);
        Payment {
            grant_id: part.grant_id,
            credits: part.credits,
            kind: grant.map(|grant| grant.kind),
            source: grant.map(|grant| grant.source.clone()),
        }
    };
    Ok(charge.consumed.iter().map(payment).collect())
}

async fn account_before(
    log: &EventLog,
    stream: &StreamId,
    version: i64,
    recorded: &Recorded,
) -> Result<Account, Failure> {
    let (mut account, mut after) = (Account::default(), 0);
    while after < version - 1 {
        let limit = PAGE.min(version - 1 - after);
        let page = stream_page(log, stream, after, recorded.position, limit).await?;
        let Some(last) = page.last().and_then(|last| last.stream_version) else { break };
        after = last;
        for recorded in &page {
            let event = CreditEvent::try_from(decode(recorded)?);
            let event = event.map_err(|error| {
                Failure::Problem(format!("position {}: {error}", recorded.position))
            })?;
            account = account.evolve(&event);
        }
    }
    Ok(account)
}

/// Decides the charge again and compares what comes of it.
fn again(account: &Account, recorded: &Recorded, charge: &UsageCharged) -> Vec<String> {
    let asked = Charge {
        charge_id: charge.charge_id,
        period: charge.period.clone(),
        occurred_at: charge.occurred_at,
        tier: charge.tier.clone(),
        tier_version: charge.tier_version,
        rate_card_version: charge.rate_card_version,
        pricing: charge.pricing,
        prices: charge.prices.clone(),
        lines: charge.lines.clone(),
    };
    let command = Command::ChargeUsage { charge: Box::new(asked), at: recorded.occurred_at };
    let decided = match account.decide(command) {
        Ok(events) => events,
        Err(refusal) => return vec![format!("the account would refuse it: {refusal}")],
    };
    let [CreditEvent::UsageCharged(decided)] = decided.as_slice() else {
        return vec!["the account would not charge it like this: it was charged before".to_owned()];
    };
    let mut differences = Vec::new();
    if decided.lines.len() != charge.lines.len() {
        let more = charge.lines.len() - decided.lines.len();
        differences.push(format!("{more} of its records were charged before"));
    }
    if decided.consumed != charge.consumed {
        differences.push("other grants should have paid for it".to_owned());
    }
    if decided.owed != charge.owed {
        differences.push(format!("{} is owed, recomputed {}", charge.owed, decided.owed));
    }
    differences
}
