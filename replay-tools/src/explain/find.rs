//! Finding a charge in the log: by its id, or by a usage record that it covers.

use crate::Failure;
use crate::history::{Filter, Scan, at_positions, decode};
use crate::output::progress;
use domain::credits::{Event as CreditEvent, UsageCharged};
use domain::values::ChargeId;
use event_log::{EventLog, Position, Recorded};

/// How many positions one query looks through.
const WINDOW: i64 = 200_000;
const CHARGED: &str = "usage_charged";
const USED: &str = "usage_recorded";

/// The charge with an id. The database looks for the id's text, and what it finds is read.
pub(super) async fn charge(
    log: &EventLog,
    id: ChargeId,
) -> Result<(Recorded, UsageCharged), Failure> {
    let head = log.head().await?;
    let bar = progress(head.0, "positions");
    let mut after = 0;
    while after < head.0 {
        let found: Vec<i64> = sqlx::query_scalar(
            "select position from event_log.log
              where position > $1 and position <= $2 and type = $3
                and position($4::bytea in payload) > 0
              order by position",
        )
        .bind(after)
        .bind(after.saturating_add(WINDOW))
        .bind(CHARGED)
        .bind(id.to_string().into_bytes())
        .fetch_all(log.pool())
        .await?;
        for recorded in at_positions(log, &found).await? {
            if let Some(charge) = charged(&recorded)?.filter(|charge| charge.charge_id == id) {
                bar.finish_and_clear();
                return Ok((recorded, charge));
            }
        }
        after = after.saturating_add(WINDOW);
        bar.set_position(u64::try_from(after).unwrap_or_default());
    }
    bar.finish_and_clear();
    Err(Failure::Usage(format!(
        "there is no charge {id}; list them with `opscenter-replay events --type {CHARGED}`"
    )))
}

/// The charge that covers a usage record; `None` while none does.
pub(super) async fn charge_of_usage(
    log: &EventLog,
    position: Position,
) -> Result<Option<(Recorded, UsageCharged)>, Failure> {
    let usage = log
        .event(position)
        .await?
        .ok_or_else(|| Failure::Usage(format!("position {position} is not recorded")))?;
    if usage.type_name != USED {
        return Err(Failure::Usage(format!(
            "position {position} holds {}, and not a usage record",
            usage.type_name
        )));
    }
    let filter =
        Filter { tenant: Some(usage.tenant), types: vec![CHARGED.to_owned()], ..Filter::default() };
    let mut scan = Scan::new(log, filter, position, log.head().await?);
    while let Some(page) = scan.next().await? {
        for recorded in page {
            let Some(charge) = charged(&recorded)? else { continue };
            let mut lines = charge.lines.iter().map(|line| line.usage_position);
            if lines.any(|covered| covered == position.0) {
                return Ok(Some((recorded, charge)));
            }
            // Charges go through usage in order: a later one cannot cover it any more.
            if charge.lines.last().is_some_and(|last| last.usage_position > position.0) {
                return Err(Failure::Problem(format!(
                    "charge {} goes beyond position {position} and leaves its record out",
                    charge.charge_id
                )));
            }
        }
    }
    Ok(None)
}

fn charged(recorded: &Recorded) -> Result<Option<UsageCharged>, Failure> {
    let event = CreditEvent::try_from(decode(recorded)?);
    Ok(if let Ok(CreditEvent::UsageCharged(charge)) = event { Some(charge) } else { None })
}
