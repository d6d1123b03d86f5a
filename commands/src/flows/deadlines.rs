//! Deadlines: holds and grants whose time is over are let go by a command, once.
//!
//! What has a time limit sets a timer when it is recorded; a timer that is due asks its account to
//! let go of everything whose time is over. The command's id follows from the timer, so that two
//! processes fire it once; an account that has nothing to let go of says so and nothing happens.

use super::{PAGE, ask, pause, unavailable};
use crate::command::CreditCommand;
use crate::executor::Executor;
use crate::failure::Failure;
use crate::ids::flow_command_id;
use crate::price_book::decode;
use domain::credits::Event as CreditEvent;
use domain::values::OrganizationId;
use domain::{Event, Instant};
use event_log::{Position, Recorded, Timer};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The flow's name, under which its position is kept.
pub const NAME: &str = "flow.deadlines";
/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(250);
/// How many are fired at once.
const DUE_MAX: i64 = 500;

/// When something an event speaks of is over, and what it is called.
fn deadline(event: &Event) -> Option<(Instant, String)> {
    match event {
        Event::CreditAccount(CreditEvent::CreditsGranted(granted)) => {
            granted.expires_at.map(|end| (end, format!("grant/{}", granted.grant_id)))
        }
        Event::CreditAccount(CreditEvent::HoldPlaced(placed)) => {
            Some((placed.expires_at, format!("hold/{}", placed.hold_id)))
        }
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
        let result = async {
            let head = executor.log().head().await?;
            set_timers(&executor, head).await?;
            fire_due(&executor).await
        };
        match result.await {
            Ok(()) => {
                let _ = stop.run_until_cancelled(tokio::time::sleep(TICK)).await;
            }
            Err(failure) => pause(&stop, NAME, &failure).await,
        }
    }
}

/// Sets the timers of what was recorded up to a position; timers and position commit together.
async fn set_timers(executor: &Executor, to: Position) -> Result<(), Failure> {
    let mut at = super::position(executor, NAME).await?;
    while at < to {
        let page = executor.log().read_settled(at, to, PAGE).await?;
        let Some(end) = page.last().map(|recorded| recorded.position) else {
            break;
        };
        let mut transaction = executor.log().pool().begin().await.map_err(unavailable)?;
        for recorded in page.iter().filter(|recorded| recorded.stream.is_some()) {
            if let Some(timer) = timer_of(recorded)? {
                event_log::timer_set(&mut transaction, &timer).await.map_err(unavailable)?;
            }
        }
        let mine =
            event_log::advance(&mut transaction, NAME, at, end).await.map_err(unavailable)?;
        if mine {
            transaction.commit().await.map_err(unavailable)?;
            at = end;
        } else {
            transaction.rollback().await.map_err(unavailable)?;
            at = super::position(executor, NAME).await?;
        }
    }
    Ok(())
}

fn timer_of(recorded: &Recorded) -> Result<Option<Timer>, Failure> {
    let event = decode(recorded)?;
    Ok(deadline(&event).map(|(due_at, name)| Timer {
        name: format!("{NAME}/{name}"),
        tenant: recorded.tenant,
        due_at,
        content: Vec::new(),
    }))
}

/// Sets what is missing and fires what is due now.
///
/// # Errors
/// What kept it from being fired; it is tried again.
pub(super) async fn fire_due(executor: &Executor) -> Result<(), Failure> {
    let head = executor.log().head().await?;
    set_timers(executor, head).await?;
    let mut connection = executor.log().pool().acquire().await.map_err(unavailable)?;
    let now = executor.clock().now();
    let due = event_log::timers_due(&mut connection, now, DUE_MAX).await.map_err(unavailable)?;
    for timer in due {
        let organization_id = OrganizationId::new(timer.tenant);
        let command = CreditCommand::CreditExpireDue { organization_id };
        let ordinal = format!("{}@{}", timer.name, timer.due_at.timestamp_micros());
        ask(executor, NAME, flow_command_id(NAME, 0, &ordinal), command.into()).await?;
        event_log::timer_clear(&mut connection, &timer.name, timer.due_at)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}
