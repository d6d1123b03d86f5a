//! The burn-down order, version 1: which grant pays first.
//!
//! By priority (lowest number first), then soonest expiry, then promotional before paid, then the
//! earliest effective instant, then the order in which they were granted.

use super::account::Grant;
use super::event::GrantKind;
use crate::Instant;
use crate::values::{Credits, GrantId};
use serde::{Deserialize, Serialize};

/// Credits that came from one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// Which grant.
    pub grant_id: GrantId,
    /// How many.
    pub credits: Credits,
}

/// Whether a grant may pay now for what occurred then.
///
/// At its expiry instant a grant is no longer usable; a grant that is effective only after the
/// service was rendered never pays for it.
#[must_use]
pub(super) fn is_usable(grant: &Grant, now: Instant, occurred_at: Instant) -> bool {
    grant.expires_at.is_none_or(|end| now < end)
        && grant.effective_at.is_none_or(|start| start <= occurred_at)
        && grant.remaining.is_positive()
}

/// Takes up to `wanted` from the grants in burn-down order and says from which.
#[must_use]
pub(super) fn consume(
    grants: &[Grant],
    wanted: Credits,
    now: Instant,
    occurred_at: Instant,
) -> Vec<Consumed> {
    let mut usable: Vec<&Grant> =
        grants.iter().filter(|grant| is_usable(grant, now, occurred_at)).collect();
    // The sort is stable, so that what is equal stays in the order of granting.
    usable.sort_by_key(|grant| {
        (
            grant.priority,
            grant.expires_at.is_none(),
            grant.expires_at,
            grant.kind != GrantKind::Promotional,
            grant.effective_at,
        )
    });
    let mut left = wanted;
    let mut consumed = Vec::new();
    for grant in usable {
        if !left.is_positive() {
            break;
        }
        let credits = grant.remaining.at_most(left);
        left = left.saturating_minus(credits);
        consumed.push(Consumed { grant_id: grant.grant_id, credits });
    }
    consumed
}

/// What was taken, all together.
#[must_use]
pub(super) fn total(consumed: &[Consumed]) -> Credits {
    consumed.iter().fold(Credits::ZERO, |sum, part| sum.saturating_plus(part.credits))
}
