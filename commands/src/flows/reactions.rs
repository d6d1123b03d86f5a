//! Reactions: one event leads to at most one command, by a pure function.

use super::{PAGE, advance, ask, pause, position};
use crate::command::{Command, CreditCommand, PurchaseCommand};
use crate::executor::Executor;
use crate::failure::Failure;
use crate::ids::flow_command_id;
use crate::price_book::{PriceBook, decode};
use domain::Event;
use domain::commerce::purchase::Event as PurchaseEvent;
use domain::credits::{Event as CreditEvent, GrantKind, GrantSource};
use domain::tenancy::Event as OrganizationEvent;
use event_log::{Position, Recorded};
use tokio_util::sync::CancellationToken;

/// The flow's name, under which its position is kept.
pub const NAME: &str = "flow.reactions";
/// Credits of a tier are spent before those that were bought.
const PRIORITY_TIER: u16 = 50;
const PRIORITY_PURCHASED: u16 = 100;

/// What follows from an event; `book` knows the tiers as they were then.
#[must_use]
pub fn react(event: &Event, book: &PriceBook) -> Option<Command> {
    match event {
        Event::Organization(OrganizationEvent::OrganizationCreated(created)) => {
            let credits = book.terms(&created.tier, created.tier_version)?.monthly_credits?;
            credits.is_positive().then(|| {
                CreditCommand::CreditGrant {
                    organization_id: created.organization_id,
                    credits,
                    kind: GrantKind::MonthlyAllocation,
                    source: GrantSource::Tier {
                        tier: created.tier.clone(),
                        version: created.tier_version,
                    },
                    priority: PRIORITY_TIER,
                    effective_at: None,
                    expires_at: None,
                }
                .into()
            })
        }
        Event::Purchase(PurchaseEvent::PurchasePaid(paid)) => Some(
            CreditCommand::CreditGrant {
                organization_id: paid.organization_id,
                credits: paid.credits,
                kind: GrantKind::Purchased,
                source: GrantSource::Purchase { purchase_id: paid.purchase_id },
                priority: PRIORITY_PURCHASED,
                effective_at: None,
                expires_at: None,
            }
            .into(),
        ),
        Event::CreditAccount(CreditEvent::CreditsGranted(granted)) => match granted.source {
            GrantSource::Purchase { purchase_id } => {
                let grant_id = granted.grant_id;
                Some(PurchaseCommand::PurchaseFulfil { purchase_id, grant_id }.into())
            }
            GrantSource::Tier { .. } | GrantSource::Manual { .. } => None,
        },
        Event::CreditAccount(_)
        | Event::Organization(_)
        | Event::Purchase(_)
        | Event::Usage(_)
        | Event::User(_)
        | Event::ApiKey(_)
        | Event::Role(_)
        | Event::Tier(_)
        | Event::AddOn(_)
        | Event::CreditPack(_)
        | Event::Meter(_)
        | Event::Model(_)
        | Event::RateCard(_)
        | Event::Service(_)
        | Event::Installation(_)
        | Event::Security(_)
        | Event::LegalHold(_)
        | Event::Retention(_)
        | Event::Purged(_) => None,
    }
}

/// Runs the flow until it is stopped.
pub(super) async fn run(executor: Executor, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(failure) = follow(&executor, &stop).await {
            pause(&stop, NAME, &failure).await;
        }
    }
}

async fn follow(executor: &Executor, stop: &CancellationToken) -> Result<(), Failure> {
    let mut at = position(executor, NAME).await?;
    let mut book = PriceBook::at(executor.log(), at).await?;
    let mut follower = executor.log().follow(at);
    while let Some(page) = stop.run_until_cancelled(follower.next_settled_page(PAGE)).await {
        let page = page?;
        let Some(end) = page.last().map(|recorded| recorded.position) else {
            continue;
        };
        work_off(executor, &mut book, &page).await?;
        if !advance(executor, NAME, at, end).await? {
            return Ok(());
        }
        at = end;
    }
    Ok(())
}

/// Works off everything up to a position.
pub(super) async fn catch_up(executor: &Executor, to: Position) -> Result<(), Failure> {
    let mut at = position(executor, NAME).await?;
    let mut book = PriceBook::at(executor.log(), at).await?;
    while at < to {
        let page = executor.log().read_settled(at, to, PAGE).await?;
        let Some(end) = page.last().map(|recorded| recorded.position) else {
            break;
        };
        work_off(executor, &mut book, &page).await?;
        if !advance(executor, NAME, at, end).await? {
            // Another process runs the flow as well: go on from where it is.
            at = position(executor, NAME).await?;
            book = PriceBook::at(executor.log(), at).await?;
            continue;
        }
        at = end;
    }
    Ok(())
}

async fn work_off(
    executor: &Executor,
    book: &mut PriceBook,
    page: &[Recorded],
) -> Result<(), Failure> {
    for recorded in page.iter().filter(|recorded| recorded.stream.is_some()) {
        let event = decode(recorded)?;
        book.take_in(&event);
        if let Some(user_id) = super::erasures::asked_by(&event) {
            super::erasures::carry_out(executor, user_id).await?;
        }
        if let Some(command) = react(&event, book) {
            let command_id = flow_command_id(NAME, recorded.position.0, "0");
            ask(executor, NAME, command_id, command).await?;
        }
    }
    Ok(())
}
