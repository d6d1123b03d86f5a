//! Credits: the statement, the balance, grants and holds of every organization.
//!
//! Every figure is a sum of the ledger's entries ([`domain::credits::ledger`]), in whole
//! micro-credits. What is available is what is neither spent, held, expired nor taken back; a grant
//! that is not effective yet, or whose time is over and was not let go yet, is still in it.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use domain::Event;
use domain::credits::ledger::{Ledger, SubAccount};
use domain::credits::{self, Consumed, GrantSource, HoldCaptured};
use domain::values::{Credits, HoldId, MicroDollars, OrganizationId};
use event_log::Position;

mod read;
mod rows;

pub use read::{Sums, balance, balances, grants, holds, statement, sums};
pub use rows::{Balance, Grant, Hold, Rows, StatementLine};

/// What organizations may spend and what they spent it on.
#[derive(Debug)]
pub struct CreditStatement;

impl Projection for CreditStatement {
    const NAME: &'static str = "credit_statement";
    const VERSION: i32 = 2;
    const TAKES: Takes = Takes::Of(&[credits::Event::NAMES]);
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        let Event::CreditAccount(event) = &occurrence.event else {
            return Ok(());
        };
        let parts = parts_of(event);
        let entries = {
            let mut ledger = Ledger::default();
            for part in &parts {
                if let Some(grant) = rows.grants.get(&(part.grant_id,))? {
                    ledger.know(grant.grant_id, grant.kind);
                }
            }
            ledger.entries(event)
        };
        take_grants(occurrence, event, &parts, rows)?;
        take_holds(occurrence, event, rows)?;
        let mut line = statement_line(occurrence, event);
        let owner = occurrence.owner();
        rows.balances.merge(
            &(owner,),
            || Balance::empty(owner),
            |row| {
                let before = row.available;
                for entry in &entries {
                    row.post(entry.account, entry.credits)?;
                }
                row.available = sum(row.granted, row.purchased)?;
                row.charged = row.charged.plus(line.charged).ok_or(TOO_MUCH)?;
                if let credits::Event::UsageCharged(charged) = event {
                    let through = charged.lines.last().map_or(0, |last| last.usage_position);
                    row.charged_through = row.charged_through.max(Position(through));
                }
                row.position = occurrence.position;
                line.change = row.available.minus(before).ok_or(TOO_MUCH)?;
                (line.balance, line.owed) = (row.available, row.owed);
                Ok(())
            },
        )?;
        rows.statement.put(line);
        Ok(())
    }
}

const TOO_MUCH: ApplyError = ApplyError::Overflow { what: "a number of credits" };

fn sum(one: Credits, other: Credits) -> Result<Credits, ApplyError> {
    one.plus(other).ok_or(TOO_MUCH)
}

fn total(parts: &[Consumed]) -> Result<Credits, ApplyError> {
    parts.iter().try_fold(Credits::ZERO, |all, part| sum(all, part.credits))
}

impl Balance {
    fn empty(organization_id: OrganizationId) -> Self {
        Self {
            organization_id,
            available: Credits::ZERO,
            granted: Credits::ZERO,
            purchased: Credits::ZERO,
            held: Credits::ZERO,
            consumed: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            issued: Credits::ZERO,
            owed: Credits::ZERO,
            charged: MicroDollars::ZERO,
            charged_through: Position::START,
            position: Position::START,
        }
    }

    fn post(&mut self, account: SubAccount, credits: Credits) -> Result<(), ApplyError> {
        let (figure, credits) = match account {
            // What was issued and what is owed are taken from, so that all others are filled.
            SubAccount::Issued => (&mut self.issued, Credits::ZERO.minus(credits)),
            SubAccount::Receivable => (&mut self.owed, Credits::ZERO.minus(credits)),
            SubAccount::Granted => (&mut self.granted, Some(credits)),
            SubAccount::Purchased => (&mut self.purchased, Some(credits)),
            SubAccount::Held => (&mut self.held, Some(credits)),
            SubAccount::Consumed => (&mut self.consumed, Some(credits)),
            SubAccount::Expired => (&mut self.expired, Some(credits)),
            SubAccount::Voided => (&mut self.voided, Some(credits)),
        };
        *figure = sum(*figure, credits.ok_or(TOO_MUCH)?)?;
        Ok(())
    }
}

/// The parts of grants that an event moves.
fn parts_of(event: &credits::Event) -> Vec<Consumed> {
    use credits::Event as It;
    match event {
        It::CreditsGranted(_) => Vec::new(),
        It::GrantExpired(over) => vec![Consumed { grant_id: over.grant_id, credits: over.credits }],
        It::GrantVoided(voided) => {
            vec![Consumed { grant_id: voided.grant_id, credits: voided.credits }]
        }
        It::CreditsSpent(spent) => spent.consumed.clone(),
        It::UsageCharged(charged) => charged.consumed.clone(),
        It::OwedSettled(settled) => settled.consumed.clone(),
        It::HoldPlaced(placed) => placed.held.clone(),
        It::HoldCaptured(captured) => captured.released.clone(),
        It::HoldReleased(released) => released.released.clone(),
        It::HoldExpired(expired) => expired.released.clone(),
    }
}

/// Whether an event gives credits back to their grants; all others take.
fn gives_back(event: &credits::Event) -> bool {
    use credits::Event as It;
    match event {
        It::HoldCaptured(_) | It::HoldReleased(_) | It::HoldExpired(_) => true,
        It::CreditsGranted(_)
        | It::GrantExpired(_)
        | It::GrantVoided(_)
        | It::CreditsSpent(_)
        | It::UsageCharged(_)
        | It::OwedSettled(_)
        | It::HoldPlaced(_) => false,
    }
}

fn take_grants(
    occurrence: &Occurrence,
    event: &credits::Event,
    parts: &[Consumed],
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    if let credits::Event::CreditsGranted(granted) = event {
        rows.grants.put(Grant {
            grant_id: granted.grant_id,
            organization_id: occurrence.owner(),
            kind: granted.kind,
            source: granted.source.clone(),
            granted: granted.credits,
            remaining: granted.credits,
            priority: granted.priority,
            effective_at: granted.effective_at,
            expires_at: granted.expires_at,
            granted_at: occurrence.recorded_at,
            granted_position: occurrence.position,
            position: occurrence.position,
        });
    }
    for part in parts {
        rows.grants.change(&(part.grant_id,), |row| {
            let after = if gives_back(event) {
                row.remaining.plus(part.credits)
            } else {
                row.remaining.minus(part.credits)
            };
            row.remaining = after.ok_or(TOO_MUCH)?;
            row.position = occurrence.position;
            Ok(())
        })?;
    }
    Ok(())
}

fn take_holds(
    occurrence: &Occurrence,
    event: &credits::Event,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    use credits::Event as It;
    let mut end = |hold_id: HoldId, state: &str, captured: Credits| {
        rows.holds.change(&(hold_id,), |row| {
            state.clone_into(&mut row.state);
            row.captured = captured;
            row.ended_at = Some(occurrence.recorded_at);
            row.position = occurrence.position;
            Ok(())
        })
    };
    match event {
        It::HoldPlaced(placed) => {
            rows.holds.put(Hold {
                hold_id: placed.hold_id,
                organization_id: occurrence.owner(),
                state: "placed".to_owned(),
                held: total(&placed.held)?,
                captured: Credits::ZERO,
                reason: placed.reason.to_string(),
                expires_at: placed.expires_at,
                placed_at: occurrence.recorded_at,
                ended_at: None,
                position: occurrence.position,
            });
            Ok(())
        }
        It::HoldCaptured(HoldCaptured { hold_id, consumed, .. }) => {
            end(*hold_id, "captured", total(consumed)?)
        }
        It::HoldReleased(released) => end(released.hold_id, "released", Credits::ZERO),
        It::HoldExpired(expired) => end(expired.hold_id, "expired", Credits::ZERO),
        It::CreditsGranted(_)
        | It::GrantExpired(_)
        | It::GrantVoided(_)
        | It::CreditsSpent(_)
        | It::UsageCharged(_)
        | It::OwedSettled(_) => Ok(()),
    }
}

/// What a line says beside its figures.
#[derive(Default)]
struct Words {
    reference: Option<String>,
    source: Option<String>,
    reason: Option<String>,
}

fn words(event: &credits::Event) -> Words {
    use credits::Event as It;
    let about = |id: String| Words { reference: Some(id), ..Words::default() };
    match event {
        It::CreditsGranted(granted) => {
            let (source, reason) = match &granted.source {
                GrantSource::Tier { tier, version } => {
                    (Some(format!("tier/{tier} version {version}")), None)
                }
                GrantSource::Purchase { purchase_id } => {
                    (Some(format!("purchase/{purchase_id}")), None)
                }
                GrantSource::Manual { reason } => (None, Some(reason.to_string())),
            };
            Words { reference: Some(granted.grant_id.to_string()), source, reason }
        }
        It::GrantExpired(over) => about(over.grant_id.to_string()),
        It::GrantVoided(voided) => {
            Words { reason: Some(voided.reason.to_string()), ..about(voided.grant_id.to_string()) }
        }
        It::CreditsSpent(spent) => {
            Words { reason: Some(spent.reason.to_string()), ..about(spent.spend_id.to_string()) }
        }
        It::UsageCharged(charged) => about(charged.charge_id.to_string()),
        It::OwedSettled(_) => Words::default(),
        It::HoldPlaced(placed) => {
            Words { reason: Some(placed.reason.to_string()), ..about(placed.hold_id.to_string()) }
        }
        It::HoldCaptured(captured) => about(captured.hold_id.to_string()),
        It::HoldReleased(released) => about(released.hold_id.to_string()),
        It::HoldExpired(expired) => about(expired.hold_id.to_string()),
    }
}

/// A line whose figures are filled in once the balance is known.
fn statement_line(occurrence: &Occurrence, event: &credits::Event) -> StatementLine {
    let Words { reference, source, reason } = words(event);
    let (charged, lines) = if let credits::Event::UsageCharged(it) = event {
        (it.total, it.lines.len())
    } else {
        (MicroDollars::ZERO, 0)
    };
    StatementLine {
        position: occurrence.position,
        organization_id: occurrence.owner(),
        action: event.audit_action().to_owned(),
        kind: event.type_name().to_owned(),
        reference,
        source,
        reason,
        change: Credits::ZERO,
        balance: Credits::ZERO,
        owed: Credits::ZERO,
        charged,
        lines: i64::try_from(lines).unwrap_or(i64::MAX),
        recorded_at: occurrence.recorded_at,
        occurred_at: occurrence.occurred_at,
    }
}
