//! A user: a person who may sign in.
//!
//! Lifecycle: invited → active ⇄ suspended → deactivated, and from anywhere to erasing → erased,
//! which is the end. E-mail address and name are personal data and are sealed before they are
//! written. That an address belongs to one user only is a claim, enforced by the log in the same
//! append and let go with the request to erase.
//!
//! Erasing is asked for, carried out (the key is destroyed) and recorded as done, in this order.
//! The user may nothing from the first on, and whoever comes after a crash finishes what was begun.

use crate::aggregate::Aggregate;
use crate::events::events;
pub use crate::identity::erasure::ErasureGround;
use crate::personal::Personal;
use crate::values::{Code, Text, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use uuid::Uuid;

events! {
    /// What can have happened to a user.
    pub enum Event {
        /// Somebody was asked to join.
        UserInvited = "user_invited" 1 "user.create" {
            /// Who.
            user_id: UserId,
            /// E-mail address, sealed with the user's key.
            email: Personal,
            /// Display name, sealed with the user's key.
            name: Personal,
        }
        /// The user may sign in from now on.
        UserActivated = "user_activated" 1 "user.update" {
            /// Who.
            user_id: UserId,
        }
        /// The user may do nothing until reactivated.
        UserSuspended = "user_suspended" 1 "user.suspend" {
            /// Who.
            user_id: UserId,
            /// Why.
            reason: Text,
        }
        /// The suspension ended.
        UserReactivated = "user_reactivated" 1 "user.update" {
            /// Who.
            user_id: UserId,
        }
        /// The user has left for good.
        UserDeactivated = "user_deactivated" 1 "user.delete" {
            /// Who.
            user_id: UserId,
            /// Why.
            reason: Text,
        }
        /// The user holds one more platform role.
        UserRoleAssigned = "user_role_assigned" 1 "user.role.change" {
            /// Who.
            user_id: UserId,
            /// Which role.
            role: Code,
        }
        /// The user holds one platform role less.
        UserRoleRemoved = "user_role_removed" 1 "user.role.change" {
            /// Who.
            user_id: UserId,
            /// Which role.
            role: Code,
        }
        /// The user's personal data is to be destroyed; it cannot be called back.
        UserErasureRequested = "user_erasure_requested" 1 "user.erase.request" {
            /// Who.
            user_id: UserId,
            /// Why.
            ground: ErasureGround,
            /// What the request is filed under.
            reference: Option<Code>,
        }
        /// The user's personal data is destroyed: the key is gone.
        UserErased = "user_erased" 1 "user.erase" {
            /// Who.
            user_id: UserId,
        }
    }
}

impl Event {
    pub(crate) fn personal_fields(&mut self) -> Vec<(Uuid, &mut Personal)> {
        match self {
            Self::UserInvited(UserInvited { user_id, email, name }) => {
                vec![(user_id.uuid(), email), (user_id.uuid(), name)]
            }
            Self::UserActivated(_)
            | Self::UserSuspended(_)
            | Self::UserReactivated(_)
            | Self::UserDeactivated(_)
            | Self::UserRoleAssigned(_)
            | Self::UserRoleRemoved(_)
            | Self::UserErasureRequested(_)
            | Self::UserErased(_) => Vec::new(),
        }
    }
}

/// What can be asked of a user's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask somebody to join.
    Invite {
        /// The new user's id.
        user_id: UserId,
        /// E-mail address.
        email: String,
        /// Display name.
        name: String,
    },
    /// Let the user sign in.
    Activate,
    /// Stop the user at once, everywhere.
    Suspend {
        /// Why.
        reason: Text,
    },
    /// End a suspension.
    Reactivate,
    /// End it for good.
    Deactivate {
        /// Why.
        reason: Text,
    },
    /// Give a platform role.
    AssignRole {
        /// Which; that it exists is checked by the caller, who knows the roles.
        role: Code,
    },
    /// Take a platform role away.
    RemoveRole {
        /// Which.
        role: Code,
    },
    /// Destroy the user's personal data.
    Erase {
        /// Why.
        ground: ErasureGround,
        /// What the request is filed under.
        reference: Option<Code>,
    },
    /// Say that it is destroyed.
    FinishErasure,
}

/// Why a user's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// The id is taken.
    #[error("a user with this id exists already")]
    Exists,
    /// Not an e-mail address. What was given is not repeated: refusals are kept for ever, and a
    /// misspelt address is as personal as a right one.
    #[error("that is not an e-mail address; write it like name@example.org")]
    NotAnAddress,
    /// The key is to be destroyed only when that was asked for.
    #[error("nobody asked for this user to be erased")]
    NotErasing,
    /// The name is empty, too long or has control characters.
    #[error("a display name has 1 to 200 characters, none of them a control character")]
    NotAName,
    /// The lifecycle does not allow it.
    #[error("a user who is {state} cannot be {wanted}")]
    WrongState {
        /// Where the user is.
        state: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "USER_NOT_FOUND",
            Self::Exists => "USER_EXISTS",
            Self::NotAnAddress => "USER_EMAIL_INVALID",
            Self::NotErasing => "USER_NOT_ERASING",
            Self::NotAName => "USER_NAME_INVALID",
            Self::WrongState { .. } => "USER_WRONG_STATE",
        }
    }
}

/// How far a user has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Never heard of.
    #[default]
    Unknown,
    /// Asked to join.
    Invited,
    /// May sign in.
    Active,
    /// Stopped for now.
    Suspended,
    /// Gone for good.
    Deactivated,
    /// Their personal data is about to be destroyed.
    Erasing,
    /// Their personal data is destroyed.
    Erased,
}

impl Status {
    /// As it is written for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Erasing => "erasing",
            Self::Erased => "erased",
        }
    }
}

/// A user as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// How far the user has come.
    pub status: Status,
    /// The id, once known.
    pub id: Option<UserId>,
    /// Platform roles held.
    pub roles: BTreeSet<Code>,
}

impl User {
    fn existing(&self) -> Result<UserId, Refusal> {
        self.id.ok_or(Refusal::NotFound)
    }

    fn moved(
        &self,
        from: &[Status],
        to: Status,
        event: impl Into<Event>,
    ) -> Result<Vec<Event>, Refusal> {
        if self.status == to {
            return Ok(vec![]);
        }
        if from.contains(&self.status) {
            return Ok(vec![event.into()]);
        }
        Err(Refusal::WrongState { state: self.status.as_str(), wanted: to.as_str() })
    }

    /// Whether erasing was asked for: nothing else can happen any more.
    #[must_use]
    pub const fn is_leaving_no_trace(&self) -> bool {
        matches!(self.status, Status::Erasing | Status::Erased)
    }

    fn stays(&self, wanted: &'static str) -> Result<(), Refusal> {
        if self.is_leaving_no_trace() {
            return Err(Refusal::WrongState { state: self.status.as_str(), wanted });
        }
        Ok(())
    }

    fn invite(&self, user_id: UserId, email: &str, name: &str) -> Result<Vec<Event>, Refusal> {
        if self.id.is_some() {
            return Err(Refusal::Exists);
        }
        let Some(email) = normal_address(email) else {
            return Err(Refusal::NotAnAddress);
        };
        let length = name.chars().count();
        if length == 0 || length > 200 || name.chars().any(char::is_control) {
            return Err(Refusal::NotAName);
        }
        let (email, name) = (Personal::Clear(email), Personal::Clear(name.to_owned()));
        Ok(vec![UserInvited { user_id, email, name }.into()])
    }
}

/// The address as it is compared and kept: trimmed and in lower case; `None` when it is none.
#[must_use]
pub fn normal_address(text: &str) -> Option<String> {
    let text = text.trim();
    let (name, host) = text.rsplit_once('@')?;
    let plain =
        |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c.is_whitespace());
    let dotted = host.contains('.') && !host.starts_with('.') && !host.ends_with('.');
    (plain(name) && plain(host) && dotted && text.len() <= 254).then(|| text.to_lowercase())
}

impl Aggregate for User {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "user";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        if let Command::Invite { user_id, email, name } = command {
            return self.invite(user_id, &email, &name);
        }
        let user_id = self.existing()?;
        match command {
            Command::Invite { .. } => Err(Refusal::Exists),
            Command::Activate => {
                self.moved(&[Status::Invited], Status::Active, UserActivated { user_id })
            }
            Command::Suspend { reason } => self.moved(
                &[Status::Active, Status::Invited],
                Status::Suspended,
                UserSuspended { user_id, reason },
            ),
            Command::Reactivate => {
                self.moved(&[Status::Suspended], Status::Active, UserReactivated { user_id })
            }
            Command::Deactivate { reason } => self.moved(
                &[Status::Invited, Status::Active, Status::Suspended],
                Status::Deactivated,
                UserDeactivated { user_id, reason },
            ),
            Command::AssignRole { role } if self.roles.contains(&role) => Ok(vec![]),
            Command::AssignRole { role } => {
                self.stays("given a role")?;
                Ok(vec![UserRoleAssigned { user_id, role }.into()])
            }
            Command::RemoveRole { role } if !self.roles.contains(&role) => Ok(vec![]),
            Command::RemoveRole { role } => Ok(vec![UserRoleRemoved { user_id, role }.into()]),
            Command::Erase { .. } if self.is_leaving_no_trace() => Ok(vec![]),
            Command::Erase { ground, reference } => {
                Ok(vec![UserErasureRequested { user_id, ground, reference }.into()])
            }
            Command::FinishErasure => match self.status {
                Status::Erased => Ok(vec![]),
                Status::Erasing => Ok(vec![UserErased { user_id }.into()]),
                Status::Unknown
                | Status::Invited
                | Status::Active
                | Status::Suspended
                | Status::Deactivated => Err(Refusal::NotErasing),
            },
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::UserInvited(invited) => {
                self.id = Some(invited.user_id);
                self.status = Status::Invited;
            }
            Event::UserActivated(_) | Event::UserReactivated(_) => self.status = Status::Active,
            Event::UserSuspended(_) => self.status = Status::Suspended,
            Event::UserDeactivated(_) => self.status = Status::Deactivated,
            Event::UserRoleAssigned(assigned) => {
                self.roles.insert(assigned.role.clone());
            }
            Event::UserRoleRemoved(removed) => {
                self.roles.remove(&removed.role);
            }
            Event::UserErasureRequested(_) => self.status = Status::Erasing,
            Event::UserErased(_) => self.status = Status::Erased,
        }
        self
    }
}

#[cfg(test)]
mod tests;
