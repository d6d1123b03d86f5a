//! `opscenter log new-epoch` and `opscenter log adopt`: what only a person may decide when the
//! database is not the one that was signed last.
//!
//! Neither is ever done by a program by itself. An epoch is opened by an event first and by the
//! guard then: killed in between, the same command goes on where it stopped.

use super::super::end::{End, Stopped, print};
use clap::Args;
use commands::{AccessCommand, Caller, Executor, Request, SystemClock, new_command_id};
use domain::Event;
use domain::installation::Event as InstallationEvent;
use domain::values::Text;
use event_log::note::{Checkpoint, Note};
use event_log::tree::guard::{Guarded, Halt};
use event_log::tree::keeper::Evidence;
use event_log::{EventLog, Position, StreamId};
use installation::{Access, Installation, Place};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

/// Go on with the history as it is now, after something else was signed, and record that
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  opscenter log new-epoch --reason 'disk lost, restored from the backup of 03:00'

Only for when the right database cannot be brought back. The history that was signed and is gone is
given up: the event `log_epoch_opened` says what it was and why. Checkpoints go on under a new
origin, which auditors and witnesses have to be told of. Start every server again afterwards: one
that runs remembers what is gone, and says so.")]
pub struct NewEpoch {
    /// Why, for everybody who reads the history later
    #[arg(long, value_name = "TEXT")]
    pub reason: Text,
}

/// Take the last checkpoint in the database for the one that was signed last
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  opscenter log adopt

Only for when log-guard.json is lost. Compare what is shown with what you know from elsewhere, such
as a witness: if the database was set back to an older state, nothing here can tell.")]
pub struct Adopt {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the log is the one that was signed; there is nothing to be given up")]
    Nothing,
    #[error(transparent)]
    Other(Halt),
    #[error("somebody else opened an epoch or signed at the same moment; look again")]
    Overtaken,
    #[error("{path} is there; only a lost one can be replaced")]
    GuardThere { path: String },
    #[error("no checkpoint was ever signed; start the server")]
    NothingSigned,
    #[error(
        "the last checkpoint in the database does not fit: {0}; bring back log-guard.json, or the \
         right database and keys"
    )]
    Unsigned(&'static str),
    #[error("nothing was changed; say --yes where nobody can be asked")]
    Unconfirmed,
}

impl NewEpoch {
    pub(super) async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let installation = Installation::open(place, Access::Write).await?;
        let opened = self.open(&installation).await;
        installation.close().await;
        print(&opened?)?;
        Ok(End::Done)
    }

    async fn open(&self, installation: &Installation) -> Result<String, Stopped> {
        let (log, evidence) = (installation.log(), installation.evidence()?);
        let held = match log.disagreement(&evidence.guard).await? {
            Some(Halt::SetBack { .. } | Halt::Forked { .. }) => evidence.guard.read()?,
            Some(
                other @ (Halt::Changed { .. }
                | Halt::GuardMissing { .. }
                | Halt::Guard(_)
                | Halt::EpochOpened { .. }
                | Halt::OtherLog),
            ) => return Err(Unfit::Other(other).into()),
            None => None,
        };
        let held = held.ok_or(Unfit::Nothing)?;
        let epoch = held.epoch.saturating_add(1);
        let position = match opened(log).await? {
            // Killed after the event and before the guard.
            Some((known, position)) if known == epoch => position,
            Some(_) | None => self.append(installation, &held, epoch).await?,
        };
        let (last, chain) = log.chain_at(position).await?.ok_or(Unfit::Overtaken)?;
        let begun = Guarded::new(epoch, last, &chain, None);
        if !evidence.guard.advance(Some(&held), &begun)? {
            return Err(Unfit::Overtaken.into());
        }
        let origin = evidence.keys.origin(epoch);
        Ok(format!(
            "epoch     {epoch}, from position {position}\n\
             given up  what was signed up to {} and is not here\n\
             origin    {origin}\n\
             Start every server again, and tell auditors and witnesses of the new origin.\n",
            held.position
        ))
    }

    async fn append(
        &self,
        installation: &Installation,
        held: &Guarded,
        epoch: u64,
    ) -> Result<Position, Stopped> {
        let keys = installation.keys()?.clone();
        let executor = Executor::new(installation.log().clone(), keys, Arc::new(SystemClock));
        let command = AccessCommand::LogEpochOpen {
            epoch,
            reason: self.reason.clone(),
            signed_position: held.position.0,
            signed_note: held.note.clone(),
        };
        let request = Request {
            command_id: new_command_id(),
            caller: Caller::system("operator"),
            expected_version: None,
            command: command.into(),
        };
        Ok(executor.execute(request).await?.receipt.position)
    }
}

/// The newest epoch that was opened in this history, and where.
async fn opened(log: &EventLog) -> Result<Option<(u64, Position)>, Stopped> {
    let history = log.read_stream(&StreamId::parse("installation")?, 0, None).await?;
    for recorded in history.iter().rev() {
        let (name, version) = (&recorded.type_name, recorded.schema_version);
        let event = Event::decode(name, version, &recorded.payload)?;
        if let Event::Installation(InstallationEvent::LogEpochOpened(opened)) = event {
            return Ok(Some((opened.epoch, recorded.position)));
        }
    }
    Ok(None)
}

impl Adopt {
    pub(super) async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let installation = Installation::open(place, Access::Write).await?;
        let adopted = self.adopt(&installation).await;
        installation.close().await;
        print(&adopted?)?;
        Ok(End::Done)
    }

    async fn adopt(&self, installation: &Installation) -> Result<String, Stopped> {
        let (log, evidence) = (installation.log(), installation.evidence()?);
        if evidence.guard.read()?.is_some() {
            let path = evidence.guard.path().display().to_string();
            return Err(Unfit::GuardThere { path }.into());
        }
        let newest = log.newest_checkpoint().await?.ok_or(Unfit::NothingSigned)?;
        let (checkpoint, epoch) = signed(&newest.note, &evidence)?;
        let position = Position(i64::try_from(checkpoint.size())?);
        let (last, chain) = log.chain_at(position).await?.ok_or(Unfit::Unsigned(SHORTER))?;
        if last != position || checkpoint.chain() != Some(chain) {
            return Err(Unfit::Unsigned("it is about another history").into());
        }
        let begun = match opened(log).await? {
            // Opened after it was signed: nothing was signed in the new epoch yet.
            Some((newer, at)) if newer > epoch => {
                let (last, chain) = log.chain_at(at).await?.ok_or(Unfit::Unsigned(SHORTER))?;
                Guarded::new(newer, last, &chain, None)
            }
            Some(_) | None => Guarded::new(epoch, position, &chain, Some(newest.note.clone())),
        };
        print(&format!(
            "The last checkpoint in this database, signed {}:\n\n{}\n",
            newest.recorded_at.format("%Y-%m-%d %H:%M:%S UTC"),
            newest.note
        ))?;
        if !self.yes && !confirmed(checkpoint.size())? {
            return Err(Unfit::Unconfirmed.into());
        }
        if !evidence.guard.advance(None, &begun)? {
            return Err(Unfit::Overtaken.into());
        }
        Ok(format!("{} was written anew.\n", evidence.guard.path().display()))
    }
}

const SHORTER: &str = "the log ends before it";

/// A checkpoint that our keys signed, and its epoch.
fn signed(note: &str, evidence: &Evidence) -> Result<(Checkpoint, u64), Stopped> {
    let note: Note = note.parse()?;
    let keys = evidence.keys.verifier_keys();
    if note.verify(&keys).unwrap_or_default().is_empty() {
        return Err(Unfit::Unsigned("the keys here did not sign it").into());
    }
    let checkpoint: Checkpoint = note.text().parse()?;
    let epoch = checkpoint.origin().rsplit('/').next().and_then(|number| number.parse().ok());
    let epoch = epoch.filter(|epoch| evidence.keys.origin(*epoch) == checkpoint.origin());
    Ok((checkpoint, epoch.ok_or(Unfit::Unsigned("it is one of another log"))?))
}

/// Asks whoever sits there to type how many events they take for signed.
fn confirmed(size: u64) -> Result<bool, Stopped> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Type {size} to take it for the last that was signed: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim() == size.to_string())
}
