//! Legal holds: while one stands on a person or an organization, nothing of theirs is destroyed.
//!
//! The holds on one target are one history, so that whoever destroys something can rely on its
//! version: a hold that is placed at the same moment is never overlooked. A hold on an organization
//! covers the people who belong to it.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{IdError, LegalHoldId, OrganizationId, Text, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Whom or what a hold is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldTarget {
    /// A person.
    User(UserId),
    /// An organization and the people who belong to it.
    Organization(OrganizationId),
}

impl HoldTarget {
    /// Whose history its holds belong to; nil for the platform's own.
    #[must_use]
    pub const fn tenant(self) -> Uuid {
        match self {
            Self::User(_) => Uuid::nil(),
            Self::Organization(organization_id) => organization_id.uuid(),
        }
    }
}

impl fmt::Display for HoldTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user_id) => user_id.fmt(formatter),
            Self::Organization(organization_id) => organization_id.fmt(formatter),
        }
    }
}

impl FromStr for HoldTarget {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.parse() {
            Ok(organization_id) => Ok(Self::Organization(organization_id)),
            Err(_) => text.parse().map(Self::User),
        }
    }
}

events! {
    /// What can have happened to the holds on a target.
    pub enum Event {
        /// Nothing of the target's may be destroyed from now on.
        LegalHoldPlaced = "legal_hold_placed" 1 "legal_hold.place" {
            /// Which hold.
            legal_hold_id: LegalHoldId,
            /// On whom or what.
            target: HoldTarget,
            /// Which case it is for.
            reason: Text,
        }
        /// This hold stands no more.
        LegalHoldReleased = "legal_hold_released" 1 "legal_hold.release" {
            /// Which hold.
            legal_hold_id: LegalHoldId,
            /// On whom or what it was.
            target: HoldTarget,
            /// Why it is not needed any more.
            reason: Text,
        }
    }
}

/// What can be asked of the holds on a target.
#[derive(Clone, Debug)]
pub enum Command {
    /// Keep everything from now on.
    Place {
        /// The new hold's id.
        legal_hold_id: LegalHoldId,
        /// On whom or what.
        target: HoldTarget,
        /// Which case it is for.
        reason: Text,
    },
    /// Let a hold go.
    Release {
        /// Which hold.
        legal_hold_id: LegalHoldId,
        /// On whom or what it is.
        target: HoldTarget,
        /// Why it is not needed any more.
        reason: Text,
    },
}

/// Why the holds on a target say no, or stand in the way of something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such hold was ever placed there.
    #[error("there is no legal hold {legal_hold_id} on {target}")]
    NotFound {
        /// Which hold.
        legal_hold_id: LegalHoldId,
        /// On whom or what.
        target: HoldTarget,
    },
    /// What was to be destroyed is held.
    #[error("legal hold {legal_hold_id} on {target} stands ({reason}); release it first")]
    Stands {
        /// Which hold.
        legal_hold_id: LegalHoldId,
        /// On whom or what.
        target: HoldTarget,
        /// Which case it is for.
        reason: Text,
    },
    /// What was to be destroyed is held by several.
    #[error("{first}; {more} more of whom these records may tell are under a hold as well")]
    SeveralStand {
        /// The first of them.
        first: Box<Refusal>,
        /// How many people and organizations beside it.
        more: usize,
    },
    /// There is nothing left to hold.
    #[error("the erasure of {0} has begun, so there is nothing left to hold")]
    TooLate(UserId),
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "LEGAL_HOLD_NOT_FOUND",
            Self::Stands { .. } | Self::SeveralStand { .. } => "LEGAL_HOLD_STANDS",
            Self::TooLate(_) => "LEGAL_HOLD_TOO_LATE",
        }
    }
}

/// The holds on one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LegalHolds {
    /// Those that stand, with the case each is for.
    pub standing: BTreeMap<LegalHoldId, Text>,
    /// Those that stood once, with the case each was for.
    pub released: BTreeMap<LegalHoldId, Text>,
}

impl LegalHolds {
    /// Nothing is destroyed while a hold stands.
    ///
    /// # Errors
    /// [`Refusal::Stands`] names the first that does.
    pub fn allow_destruction(&self, target: HoldTarget) -> Result<(), Refusal> {
        match self.standing.first_key_value() {
            None => Ok(()),
            Some((legal_hold_id, reason)) => Err(Refusal::Stands {
                legal_hold_id: *legal_hold_id,
                target,
                reason: reason.clone(),
            }),
        }
    }
}

impl Aggregate for LegalHolds {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "legal_hold";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Place { legal_hold_id, target, reason } => {
                Ok(vec![LegalHoldPlaced { legal_hold_id, target, reason }.into()])
            }
            Command::Release { legal_hold_id, target, reason } => {
                if self.released.contains_key(&legal_hold_id) {
                    return Ok(vec![]);
                }
                if !self.standing.contains_key(&legal_hold_id) {
                    return Err(Refusal::NotFound { legal_hold_id, target });
                }
                Ok(vec![LegalHoldReleased { legal_hold_id, target, reason }.into()])
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::LegalHoldPlaced(placed) => {
                self.standing.insert(placed.legal_hold_id, placed.reason.clone());
            }
            Event::LegalHoldReleased(released) => {
                let id = released.legal_hold_id;
                let reason = self.standing.remove(&id);
                self.released.insert(id, reason.unwrap_or_else(|| released.reason.clone()));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;

    fn id(number: u128) -> LegalHoldId {
        LegalHoldId::new(Uuid::from_u128(number))
    }

    fn target() -> HoldTarget {
        HoldTarget::User(UserId::new(Uuid::from_u128(1)))
    }

    fn reason(text: &str) -> Text {
        text.parse().expect("a text")
    }

    fn placed(number: u128) -> Event {
        let reason = reason("case 7");
        LegalHoldPlaced { legal_hold_id: id(number), target: target(), reason }.into()
    }

    fn release(number: u128) -> Command {
        let reason = reason("over");
        Command::Release { legal_hold_id: id(number), target: target(), reason }
    }

    #[test]
    fn two_holds_stand_until_both_are_released() {
        let released = given::<LegalHolds>(&[placed(1), placed(2)]).when(release(1)).accepted();
        let history = [vec![placed(1), placed(2)], released].concat();
        let holds: LegalHolds = crate::fold(&history);
        let refusal = holds.allow_destruction(target()).expect_err("a hold stands");
        assert!(refusal.to_string().contains("case 7"), "{refusal}");
        let last = given::<LegalHolds>(&history).when(release(2)).accepted();
        let holds: LegalHolds = crate::fold(&[history, last].concat());
        assert_eq!(holds.allow_destruction(target()), Ok(()));
    }

    #[test]
    fn releasing_twice_is_one_release_and_an_unknown_hold_is_refused() {
        let history =
            [vec![placed(1)], given::<LegalHolds>(&[placed(1)]).when(release(1)).accepted()];
        given::<LegalHolds>(&history.concat()).when(release(1)).happened(&[]);
        let missing = Refusal::NotFound { legal_hold_id: id(9), target: target() };
        given::<LegalHolds>(&[placed(1)]).when(release(9)).refused(&missing);
    }

    #[test]
    fn a_target_is_read_as_it_is_written() {
        let organization = HoldTarget::Organization(OrganizationId::new(Uuid::from_u128(5)));
        for target in [target(), organization] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert!("svc_0000000000000000000000000a".parse::<HoldTarget>().is_err());
    }
}
