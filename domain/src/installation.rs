//! The installation itself: its first start and its first administrator.
//!
//! There is no default password: the first administrator comes from a one-time setup link whose
//! token is kept only as a hash and which works until it was used once.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::identity::api_key::hash_secret;
use crate::values::UserId;
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
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyDone => "SETUP_ALREADY_DONE",
            Self::WrongToken => "SETUP_TOKEN_INVALID",
        }
    }
}

/// The installation as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Installation {
    link: Option<(String, Instant)>,
    /// The first administrator, once there is one.
    pub administrator: Option<UserId>,
}

impl Aggregate for Installation {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "installation";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        if self.administrator.is_some() {
            return Err(Refusal::AlreadyDone);
        }
        match command {
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
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::SetupLinkIssued(issued) => {
                self.link = Some((issued.token_hash.clone(), issued.expires_at));
            }
            Event::SetupCompleted(completed) => self.administrator = Some(completed.user_id),
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
}
