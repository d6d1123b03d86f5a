//! How long bodies of a kind are kept, for one organization or for the platform's own records.
//!
//! A purge takes the body and its salts from events whose time is over. Everything else of them
//! stays, so that hashes, chain and counting hold. It is recorded with the exact positions and a
//! digest, which is how a verifier tells it from tampering. Only kinds that nothing needs any more
//! may be purged: what a figure is derived from is refused.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::OrganizationId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// What was refused or forbidden: which command, on what, why, from where.
    Denials,
    /// Usage records.
    Usage,
}

impl RecordKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denials => "denials",
            Self::Usage => "usage",
        }
    }

    /// The stored names of its events.
    #[must_use]
    pub const fn type_names(self) -> &'static [&'static str] {
        match self {
            Self::Denials => &["command_denied", "command_refused"],
            Self::Usage => &["usage_recorded"],
        }
    }

    /// What is derived from the bodies and would be lost with them.
    #[must_use]
    pub const fn needed_by(self) -> Option<&'static str> {
        match self {
            Self::Denials => None,
            Self::Usage => {
                Some("hourly usage, the explanation of charges and usage that waits for a price")
            }
        }
    }
}

/// The longest that can be asked for, in days: a hundred years.
pub const KEEP_DAYS_MAX: u32 = 36_500;

/// The most bodies that one purge takes: it holds the log for about as long as one large append.
pub const PURGE_EVENTS_MAX: usize = 1_000;

/// Positions that follow each other, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl Run {
    /// Sorted positions as runs.
    #[must_use]
    pub fn of(positions: &[i64]) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for position in positions {
            match runs.last_mut() {
                Some(run) if run.last.checked_add(1) == Some(*position) => run.last = *position,
                Some(_) | None => runs.push(Self { first: *position, last: *position }),
            }
        }
        runs
    }
}

events! {
    /// What can have happened to retention.
    pub enum Event {
        /// Bodies of this kind are kept for so long from now on.
        RetentionPolicySet = "retention_policy_set" 1 "retention.policy.set" {
            /// Whose records; none for the platform's own.
            organization_id: Option<OrganizationId>,
            /// Of which kind.
            kind: RecordKind,
            /// For how many days after they were recorded.
            keep_days: u32,
        }
        /// Bodies whose time was over were destroyed.
        BodiesPurged = "bodies_purged" 1 "retention.purge" {
            /// Whose records; none for the platform's own.
            organization_id: Option<OrganizationId>,
            /// Of which kind.
            kind: RecordKind,
            /// The policy they were purged by, in days.
            keep_days: u32,
            /// What was recorded before this moment.
            recorded_before: Instant,
            /// Where the events stand.
            runs: Vec<Run>,
            /// How many they are.
            count: u32,
            /// SHA-256 over position, id and hash of each, in hexadecimal.
            digest: String,
        }
    }
}

/// What can be asked of retention.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say for how long bodies are kept.
    Set {
        /// Whose records; none for the platform's own.
        organization_id: Option<OrganizationId>,
        /// Of which kind.
        kind: RecordKind,
        /// For how many days.
        keep_days: u32,
    },
    /// Destroy bodies whose time is over.
    Purge {
        /// Whose records; none for the platform's own.
        organization_id: Option<OrganizationId>,
        /// Of which kind.
        kind: RecordKind,
        /// What was recorded before this moment, as [`RetentionPolicy::purgeable_before`] says.
        recorded_before: Instant,
        /// Where the events stand, in order.
        positions: Vec<i64>,
        /// SHA-256 over position, id and hash of each, in hexadecimal.
        digest: String,
    },
}

/// Why retention says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something is derived from the bodies.
    #[error("bodies of {} are never purged: {by} are derived from them", .kind.as_str())]
    Needed {
        /// Of which kind.
        kind: RecordKind,
        /// What is derived from them.
        by: &'static str,
    },
    /// Not a time that anything can be kept for.
    #[error("bodies are kept for 1 to {KEEP_DAYS_MAX} days, not for {0}")]
    Days(u32),
    /// Nobody said for how long.
    #[error("it was never said how long {} are kept; set a retention policy first", .0.as_str())]
    NoPolicy(RecordKind),
    /// What was found due may not go, as the log sees it.
    #[error("nothing was purged, because {why}; look at the holds and the policy, and ask again")]
    NotPurged {
        /// What the log says.
        why: String,
    },
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Needed { .. } => "RETENTION_NEEDED",
            Self::Days(_) => "RETENTION_DAYS_INVALID",
            Self::NoPolicy(_) => "RETENTION_NO_POLICY",
            Self::NotPurged { .. } => "RETENTION_NOT_PURGED",
        }
    }
}

/// Retention for one organization, or for the platform's own records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// For how many days bodies of each kind are kept; what is not named is kept for ever.
    pub keep_days: BTreeMap<RecordKind, u32>,
}

impl RetentionPolicy {
    /// What was recorded before the moment this gives may be purged at `now`.
    ///
    /// # Errors
    /// [`Refusal::Needed`] and [`Refusal::NoPolicy`].
    pub fn purgeable_before(&self, kind: RecordKind, now: Instant) -> Result<Instant, Refusal> {
        let days = self.days(kind)?;
        // Before what can be reckoned there is nothing.
        let before = now.checked_sub_signed(chrono::TimeDelta::days(i64::from(days)));
        Ok(before.unwrap_or(Instant::UNIX_EPOCH))
    }

    fn days(&self, kind: RecordKind) -> Result<u32, Refusal> {
        if let Some(by) = kind.needed_by() {
            return Err(Refusal::Needed { kind, by });
        }
        self.keep_days.get(&kind).copied().ok_or(Refusal::NoPolicy(kind))
    }
}

impl Aggregate for RetentionPolicy {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "retention";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Set { organization_id, kind, keep_days } => {
                if let Some(by) = kind.needed_by() {
                    return Err(Refusal::Needed { kind, by });
                }
                if !(1..=KEEP_DAYS_MAX).contains(&keep_days) {
                    return Err(Refusal::Days(keep_days));
                }
                if self.keep_days.get(&kind) == Some(&keep_days) {
                    return Ok(vec![]);
                }
                Ok(vec![RetentionPolicySet { organization_id, kind, keep_days }.into()])
            }
            Command::Purge { organization_id, kind, recorded_before, positions, digest } => {
                let keep_days = self.days(kind)?;
                let count = u32::try_from(positions.len()).unwrap_or(u32::MAX);
                if count == 0 {
                    return Ok(vec![]);
                }
                let runs = Run::of(&positions);
                Ok(vec![
                    BodiesPurged {
                        organization_id,
                        kind,
                        keep_days,
                        recorded_before,
                        runs,
                        count,
                        digest,
                    }
                    .into(),
                ])
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::RetentionPolicySet(set) => {
                self.keep_days.insert(set.kind, set.keep_days);
            }
            Event::BodiesPurged(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;
    use chrono::DateTime;

    fn set(kind: RecordKind, keep_days: u32) -> Command {
        Command::Set { organization_id: None, kind, keep_days }
    }

    fn of_denials(keep_days: u32) -> Event {
        let kind = RecordKind::Denials;
        RetentionPolicySet { organization_id: None, kind, keep_days }.into()
    }

    #[test]
    fn bodies_that_figures_are_derived_from_are_never_purged() {
        let by = RecordKind::Usage.needed_by().expect("something");
        let refusal = Refusal::Needed { kind: RecordKind::Usage, by };
        given::<RetentionPolicy>(&[]).when(set(RecordKind::Usage, 30)).refused(&refusal);
        let policy: RetentionPolicy = crate::fold(&[]);
        let now = DateTime::from_timestamp(1, 0).expect("a moment");
        assert_eq!(policy.purgeable_before(RecordKind::Usage, now), Err(refusal));
    }

    #[test]
    fn nothing_is_purged_without_a_policy_and_nothing_before_its_time() {
        let now = DateTime::from_timestamp(10 * 86_400, 0).expect("a moment");
        let none: RetentionPolicy = crate::fold(&[]);
        let refusal = Refusal::NoPolicy(RecordKind::Denials);
        assert_eq!(none.purgeable_before(RecordKind::Denials, now), Err(refusal));
        let policy: RetentionPolicy = crate::fold(&[of_denials(9), of_denials(3)]);
        let before = policy.purgeable_before(RecordKind::Denials, now);
        assert_eq!(before, Ok(DateTime::from_timestamp(7 * 86_400, 0).expect("a moment")));
    }

    #[test]
    fn a_policy_is_for_one_day_or_more_and_the_same_twice_is_one() {
        given::<RetentionPolicy>(&[]).when(set(RecordKind::Denials, 0)).refused(&Refusal::Days(0));
        given::<RetentionPolicy>(&[of_denials(30)])
            .when(set(RecordKind::Denials, 30))
            .happened(&[]);
    }

    #[test]
    fn positions_are_written_as_runs() {
        let run = |first, last| Run { first, last };
        assert_eq!(Run::of(&[1, 2, 3, 7, 9, 10]), [run(1, 3), run(7, 7), run(9, 10)]);
        assert_eq!(Run::of(&[]), []);
    }
}
