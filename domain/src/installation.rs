//! The installation itself: its first start, its first administrator, and the epochs of its log.
//!
//! There is no default password: the first administrator comes from a one-time setup link whose
//! token is kept only as a hash and which works until it was used once.
//!
//! An epoch begins where the log goes on from another state than the one that was signed last, as
//! after a restore from a backup. That is its first event, and says what was given up and why.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::identity::api_key::hash_secret;
use crate::values::{Text, UserId};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

events! {
    /// What can have happened to the installation.
    pub enum Event {
        /// A setup link was printed; earlier ones stop working.
        SetupLinkIssued = "setup_link_issued" 1 "config.change" {
            /// SHA-256 of the token, in hexadecimal.
            token_hash: String,
            /// When it stops working.
            expires_at: Instant,
        }
        /// The first administrator exists.
        SetupCompleted = "setup_completed" 1 "config.change" {
            /// Who.
            user_id: UserId,
        }
        /// The log goes on from here, although something else was signed before.
        LogEpochOpened = "log_epoch_opened" 1 "config.change" {
            /// 2, 3, …; a log begins in the first.
            epoch: u64,
            /// Why, in the words of whoever decided it.
            reason: Text,
            /// The position up to which the epoch before was signed.
            signed_position: i64,
            /// The last signed checkpoint of the epoch before, whole, where there was one.
            signed_note: Option<String>,
        }
    }
}

/// What can be asked of the installation's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print a link.
    IssueSetupLink {
        /// SHA-256 of the token, in hexadecimal.
        token_hash: String,
        /// When it stops working.
        expires_at: Instant,
    },
    /// Use the link.
    CompleteSetup {
        /// The token as it was printed.
        token: String,
        /// Who becomes administrator.
        user_id: UserId,
        /// Now.
        at: Instant,
    },
    /// Let the log go on from here.
    OpenEpoch(LogEpochOpened),
}

/// Why the installation says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Setup happens once.
    #[error("the installation has its first administrator already")]
    AlreadyDone,
    /// Not the token, or too late.
    #[error("the setup link is wrong or has expired; restart the server to be shown a new one")]
    WrongToken,
    /// Epochs are opened one after the other.
    #[error("epoch {known} of the log was opened already; the next one is {}", known + 1)]
    EpochKnown {
        /// The newest.
        known: u64,
    },
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyDone => "SETUP_ALREADY_DONE",
            Self::WrongToken => "SETUP_TOKEN_INVALID",
            Self::EpochKnown { .. } => "LOG_EPOCH_KNOWN",
        }
    }
}

/// The installation as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Installation {
    link: Option<(String, Instant)>,
    /// The first administrator, once there is one.
    pub administrator: Option<UserId>,
    /// The newest epoch that was opened; none in the first.
    pub epoch: Option<u64>,
}

impl Aggregate for Installation {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "installation";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::IssueSetupLink { .. } | Command::CompleteSetup { .. }
                if self.administrator.is_some() =>
            {
                Err(Refusal::AlreadyDone)
            }
            Command::IssueSetupLink { token_hash, expires_at } => {
                Ok(vec![SetupLinkIssued { token_hash, expires_at }.into()])
            }
            Command::CompleteSetup { token, user_id, at } => {
                let hash = hash_secret(&token);
                let fits = self.link.as_ref().is_some_and(|(expected, expires_at)| {
                    at < *expires_at && bool::from(expected.as_bytes().ct_eq(hash.as_bytes()))
                });
                if fits {
                    Ok(vec![SetupCompleted { user_id }.into()])
                } else {
                    Err(Refusal::WrongToken)
                }
            }
            Command::OpenEpoch(opened) => {
                let known = self.epoch.unwrap_or(1);
                if opened.epoch > known {
                    Ok(vec![opened.into()])
                } else {
                    Err(Refusal::EpochKnown { known })
                }
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::SetupLinkIssued(issued) => {
                self.link = Some((issued.token_hash.clone(), issued.expires_at));
            }
            Event::SetupCompleted(completed) => self.administrator = Some(completed.user_id),
            Event::LogEpochOpened(opened) => self.epoch = Some(opened.epoch),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;
    use chrono::DateTime;

    fn at(seconds: i64) -> Instant {
        DateTime::from_timestamp(seconds, 0).expect("a moment")
    }

    fn link() -> Event {
        SetupLinkIssued { token_hash: hash_secret("token"), expires_at: at(100) }.into()
    }

    fn complete(token: &str, seconds: i64) -> Command {
        let user_id = UserId::new(uuid::Uuid::from_u128(1));
        Command::CompleteSetup { token: token.to_owned(), user_id, at: at(seconds) }
    }

    #[test]
    fn a_setup_link_works_once_and_only_in_time() {
        given::<Installation>(&[]).when(complete("token", 1)).refused(&Refusal::WrongToken);
        given::<Installation>(&[link()]).when(complete("guess", 1)).refused(&Refusal::WrongToken);
        given::<Installation>(&[link()]).when(complete("token", 100)).refused(&Refusal::WrongToken);
        let done = given::<Installation>(&[link()]).when(complete("token", 99)).accepted();
        let history = [vec![link()], done].concat();
        given::<Installation>(&history).when(complete("token", 99)).refused(&Refusal::AlreadyDone);
    }

    #[test]
    fn epochs_are_opened_one_after_the_other_and_may_be_skipped() {
        let opened = |epoch| LogEpochOpened {
            epoch,
            reason: "restored from last night's backup".parse().expect("a text"),
            signed_position: 9,
            signed_note: None,
        };
        let open = |epoch| Command::OpenEpoch(opened(epoch));
        given::<Installation>(&[]).when(open(1)).refused(&Refusal::EpochKnown { known: 1 });
        let first = given::<Installation>(&[]).when(open(2)).accepted();
        given::<Installation>(&first).when(open(2)).refused(&Refusal::EpochKnown { known: 2 });
        // What was restored may be older than the epoch before.
        given::<Installation>(&first).when(open(4)).accepted();
    }
}
