//! `opscenter log`: what an operator does about the log itself and its evidence.
//!
//! The keys that checkpoints are signed with are looked at and replaced here. Only the data folder
//! is needed for that: a server that runs takes a change in with its next signature. What to do
//! when the database is not the one that was signed is in `epoch`.

mod epoch;

use super::end::{End, Stopped, print};
use clap::{Args, Subcommand};
pub use epoch::{Adopt, NewEpoch};
use event_log::SigningKeys;
use installation::Place;
use serde_json::json;

/// What can be done about the log.
#[derive(Clone, Debug, Subcommand)]
pub enum Log {
    /// Print the public keys that checkpoints are verified with, one a line
    Keys(Keys),
    /// Make a new signing key and print its public half; the one before signs beside it
    RotateKey(RotateKey),
    /// End the overlap: the key before the active one signs no more, and its secret is destroyed
    RetireKey(RetireKey),
    /// Go on with the history as it is now, after something else was signed, and record that
    NewEpoch(NewEpoch),
    /// Take the last checkpoint in the database for the one that was signed last
    Adopt(Adopt),
}

/// Print the public keys that checkpoints are verified with, one a line
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  opscenter log keys
  opscenter log keys --json

Hand these lines to whoever verifies checkpoints: they are public. The oldest key comes first, and
keys that sign no more are there too, because what they signed must verify for ever.")]
pub struct Keys {
    /// Print one JSON object, with the log's id, and since when and until when each key signs
    #[arg(long)]
    pub json: bool,
}

/// Make a new signing key and print its public half; the one before signs beside it
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  opscenter log rotate-key

From now on both keys sign every checkpoint. Hand the printed line to every verifier and witness,
and then end the overlap with `opscenter log retire-key`. No restart is needed.")]
pub struct RotateKey {}

/// End the overlap: the key before the active one signs no more, and its secret is destroyed
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  opscenter log retire-key

Prints the public half of the key that was retired. It stays listed, so that old checkpoints verify.
A verifier that knows only this key takes no new checkpoint from now on.")]
pub struct RetireKey {}

impl Log {
    /// Does it, and says how it ended.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let text = match self {
            Self::Keys(options) => options.list(&installation::log_keys(place)?)?,
            Self::RotateKey(RotateKey {}) => {
                format!("{}\n", installation::log_keys(place)?.rotate()?)
            }
            Self::RetireKey(RetireKey {}) => lines(&installation::log_keys(place)?.retire()?),
            Self::NewEpoch(options) => return options.run(place).await,
            Self::Adopt(options) => return options.run(place).await,
        };
        print(&text)?;
        Ok(End::Done)
    }
}

impl Keys {
    fn list(&self, keys: &SigningKeys) -> Result<String, Stopped> {
        if !self.json {
            return Ok(lines(&keys.verifier_keys()));
        }
        let report = json!({ "log_id": keys.log_id(), "keys": keys.keys() });
        Ok(format!("{}\n", serde_json::to_string_pretty(&report)?))
    }
}

fn lines(keys: &[event_log::note::VerifierKey]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}
