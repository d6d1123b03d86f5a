//! `opscenter doctor`: one look at what the program needs and what it can use on this machine.
//!
//! Rules:
//!
//! * it makes, starts and changes nothing, and can be run beside a server at any time;
//! * everything is looked at at once, and nothing that does not answer is waited for long;
//! * what was named (a database, a container engine, a Redis, witnesses) is needed, because
//!   somebody counts on it; what is merely not there is absent, which is no fault;
//! * no address is printed that could hold a password.

mod check;
mod here;
mod outside;
mod print;
mod witnesses;

use super::end::{End, Stopped, print};
use super::witnesses::Witnesses;
use check::{Check, State};
use clap::Args;
use installation::Place;
use serde::Serialize;
use std::time::Duration;

/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Look at what is needed and what can be used here
#[derive(Args, Clone)]
#[command(after_help = "Examples:
  opscenter doctor
  opscenter doctor --data /var/lib/opscenter
  opscenter doctor --json

Changes nothing, and may be run beside a server. What is `absent` is not needed. Exit status:
0 everything that is needed is in order; 1 something needed is not.")]
pub struct Doctor {
    /// A Redis, redis://user:password@host:6379/0; better given by the environment, which no other
    /// user of the machine sees
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Which witnesses are asked
    #[command(flatten)]
    pub witnesses: Witnesses,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The address may hold a password, and whatever prints the options must not print it.
impl std::fmt::Debug for Doctor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = self.redis_url.as_ref().map(|_| "hidden");
        formatter
            .debug_struct("Doctor")
            .field("redis_url", &hidden)
            .field("witnesses", &self.witnesses)
            .field("json", &self.json)
            .finish()
    }
}

/// Everything that was looked at.
#[derive(Serialize)]
struct Report {
    /// This program's.
    version: &'static str,
    /// Whether everything that is needed is in order.
    fine: bool,
    checks: Vec<Check>,
}

impl Doctor {
    /// Looks, prints, and says whether everything needed is there.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let redis_url = self.redis_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let (folder, key, log_keys, postgres, engine, gpus, redis, witnesses) = tokio::join!(
            here::data_folder(place),
            here::master_key(place),
            here::log_keys(place),
            here::postgres(place, ANSWER_LIMIT),
            outside::container_engine(ANSWER_LIMIT),
            outside::gpus(),
            outside::redis(redis_url, ANSWER_LIMIT),
            witnesses::witnesses(&self.witnesses, place, ANSWER_LIMIT),
        );
        let checks = vec![folder, key, log_keys, postgres, engine, gpus, redis, witnesses];
        let fine = !checks.iter().any(|check| check.needed && check.state == State::Problem);
        let report = Report { version: env!("CARGO_PKG_VERSION"), fine, checks };
        match self.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
            false => print(&print::table(&report))?,
        }
        Ok(if fine { End::Done } else { End::Missing })
    }
}
