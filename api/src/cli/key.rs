//! `opscenter key create`: a key for somebody, made by whoever works at the machine.
//!
//! Whoever can run this holds the master key and the database already; it is how an administrator
//! who has lost every key gets in again. The key is printed once, on standard output, and only its
//! hash is recorded, with the operator as the one who made it.

use super::end::{End, Stopped, print};
use super::session::Session;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use commands::{AccessCommand, Caller, Failure, NewKey, Request, Subject, new_command_id};
use domain::access::Permission;
use domain::identity::api_key::{PrintedKey, hash_secret};
use domain::values::{OrganizationId, Text, UserId};
use installation::{Access, Place};
use serde_json::json;

/// What can be done about keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Key {
    /// Make an API key for a user and print it once
    Create(Create),
}

/// Make an API key for a user and print it once
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  opscenter key create --user ada@example.org
  opscenter key create --user ada@example.org --organization acme --scope metering:w
  opscenter key create --user usr_… --scope billing:r --scope metering:r --days 30

A key acts for its user: it may do what they may, and no more than its scopes where it has some.")]
pub struct Create {
    /// Whom the key acts for: an e-mail address or the id of a user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The only organization it is good for: a short name or an id
    #[arg(long, value_name = "ORG")]
    pub organization: Option<String>,
    /// A permission it is limited to, such as billing:r; may be repeated
    #[arg(long = "scope", value_name = "PERMISSION")]
    pub scopes: Vec<Permission>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "made at the machine")]
    pub name: Text,
    /// After how many days it stops working
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    pub days: Option<u16>,
    /// Print the key and its id as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Why no key is made.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("there is no user {0:?}; give the e-mail address or the id of a user that exists")]
    NoUser(String),
    #[error("there is no organization {0:?}; give the short name or the id of one that exists")]
    NoOrganization(String),
}

impl Key {
    /// Does it, and says how it ended.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let Self::Create(create) = self;
        let session = Session::open(place, Access::Write).await?;
        let created = create.create(&session).await;
        session.close().await;
        print(&created?)?;
        Ok(End::Done)
    }
}

impl Create {
    /// Makes the key; what is to be printed.
    async fn create(&self, session: &Session) -> Result<String, Stopped> {
        let executor = session.executor();
        let (mut public, mut secret) = ([0; 12], [0; 32]);
        getrandom::fill(&mut public)?;
        getrandom::fill(&mut secret)?;
        let key = PrintedKey::new("live".parse()?, public, &secret);
        let command = AccessCommand::ApiKeyCreate {
            user_id: self.user(session).await?,
            organization_id: self.organization(session).await?,
            name: self.name.clone(),
            scopes: self.scopes.iter().copied().collect(),
            expires_at: self
                .days
                .map(|days| executor.clock().now() + TimeDelta::days(i64::from(days))),
            key: NewKey {
                public_part: key.public_part.clone(),
                secret_hash: hash_secret(&key.secret),
            },
        };
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("operator"),
            expected_version: None,
            command: command.into(),
        };
        let outcome = executor.execute(request).await?;
        let id = match outcome.subject {
            Subject::ApiKey(id) => id.to_string(),
            other => other.target(),
        };
        Ok(match self.json {
            true => format!("{}\n", json!({ "api_key_id": id, "key": key.print() })),
            false => format!("{}\n", key.print()),
        })
    }

    async fn user(&self, session: &Session) -> Result<UserId, Stopped> {
        if let Ok(id) = self.user.parse() {
            return Ok(id);
        }
        let found = session.executor().user_addressed(&self.user).await?;
        found.ok_or_else(|| Unfit::NoUser(self.user.clone()).into())
    }

    async fn organization(&self, session: &Session) -> Result<Option<OrganizationId>, Stopped> {
        let Some(given) = &self.organization else { return Ok(None) };
        if let Ok(id) = given.parse() {
            return Ok(Some(id));
        }
        let found: Result<_, Failure> = session.executor().organization_named(given).await;
        match found? {
            Some(id) => Ok(Some(id)),
            None => Err(Unfit::NoOrganization(given.clone()).into()),
        }
    }
}
