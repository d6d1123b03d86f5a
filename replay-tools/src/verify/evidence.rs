//! `verify FILE`: what a file is worth that should prove itself, without database and network. It
//! is a bundle, or the proof of one event.
//!
//! The process ends with 0 when it is whole, 10 when it is whole but for bodies that were purged by
//! a recorded decision, 20 when something was changed, 21 when it is not signed as the policy asks,
//! 22 when something is missing, and 30 when the figures in it are not what its events give. What
//! is wrong first is named by position.

use super::{bundle, proof};
use crate::output::Out;
use crate::{Failure, moment};
use chrono::DateTime;
use data_encoding::HEXLOWER;
use event_log::bundle::Class;
use event_log::note::{Checkpoint, Cosignature, Policy, VerifierKey};
use event_log::tlog_proof;
use event_log::tree::entry::Entry;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What a file is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    WholeWithGaps,
    Changed,
    Unsigned,
    Incomplete,
    ReplayDiffers,
}

impl Verdict {
    /// What the process ends with.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::WholeWithGaps => 10,
            Self::Changed => 20,
            Self::Unsigned => 21,
            Self::Incomplete => 22,
            Self::ReplayDiffers => 30,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WholeWithGaps => "whole_with_authorised_gaps",
            Self::Changed => "content",
            Self::Unsigned => "signature",
            Self::Incomplete => "incomplete",
            Self::ReplayDiffers => "replay",
        }
    }
}

impl From<Class> for Verdict {
    fn from(class: Class) -> Self {
        match class {
            Class::Content => Self::Changed,
            Class::Signature => Self::Unsigned,
            Class::Incomplete => Self::Incomplete,
        }
    }
}

/// A file that is looked into before it is read.
pub(super) struct Input {
    pub(super) reader: Box<dyn BufRead + Send>,
    /// How long it is, where that is known.
    pub(super) length: Option<u64>,
    /// What it is called in an error.
    pub(super) name: String,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |source| Failure::File { path: name.clone(), source };
        let (input, length): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(std::io::stdin()), None)
        } else {
            let file = File::open(path).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            (Box::new(file), Some(length))
        };
        Ok(Self { reader: Box::new(BufReader::new(input)), length, name })
    }

    pub(super) fn failed(&self, source: std::io::Error) -> Failure {
        Failure::File { path: self.name.clone(), source }
    }

    fn is_proof(&mut self) -> Result<bool, Failure> {
        let beginning = tlog_proof::BEGINNING.as_bytes();
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(bytes.starts_with(beginning)),
            Err(source) => Err(self.failed(source)),
        }
    }
}

/// Verifies a file and says what it is worth.
///
/// # Errors
/// [`Failure::Verdict`] where it is not whole in every part, [`Failure::File`] and
/// [`Failure::Usage`] where it or the policy cannot be read.
pub(super) async fn run(
    path: &Path,
    policy: &Path,
    as_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let policy = read_policy(policy)?;
    let mut input = Input::open(path)?;
    if input.is_proof()? {
        proof::run(input, &policy, as_json, out)
    } else {
        bundle::run(input, policy, as_json, out).await
    }
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::File { path: shown.clone(), source })?;
    text.parse().map_err(|error| Failure::Usage(format!("{shown}: {error}")))
}

/// A checkpoint and whose signatures it has, as JSON.
pub(super) fn signed_json(
    checkpoint: &Checkpoint,
    signers: &[VerifierKey],
    cosignatures: &[Cosignature],
) -> Value {
    json!({
        "origin": checkpoint.origin(),
        "size": checkpoint.size(),
        "root": HEXLOWER.encode(checkpoint.root()),
        "signed_by": signers.iter().map(key).collect::<Vec<_>>(),
        "witnessed_by": cosignatures.iter().map(cosigned).collect::<Vec<_>>(),
    })
}

/// A checkpoint and whose signatures it has, a line each.
pub(super) fn print_signed(
    checkpoint: &Checkpoint,
    signers: &[VerifierKey],
    cosignatures: &[Cosignature],
    out: Out<'_>,
) -> Result<(), Failure> {
    let names: Vec<String> = signers.iter().map(key).collect();
    writeln!(out, "checkpoint   {}, signed by {}", checkpoint.size(), names.join(", "))?;
    for Cosignature { name, timestamp } in cosignatures {
        writeln!(out, "witness      {name}, at {}", seconds(*timestamp))?;
    }
    Ok(())
}

/// When an event was recorded; none for a time that no program can hold.
pub(super) fn recorded_at(entry: &Entry) -> Option<String> {
    DateTime::from_timestamp_micros(entry.recorded_at_micros).map(moment::printed)
}

fn key(key: &VerifierKey) -> String {
    format!("{}+{}", key.name(), key.key_id())
}

fn cosigned(cosignature: &Cosignature) -> Value {
    json!({ "name": cosignature.name.as_str(), "at": seconds(cosignature.timestamp) })
}

/// A time of a witness, as text.
fn seconds(timestamp: u64) -> String {
    let at = i64::try_from(timestamp).ok().and_then(|at| DateTime::from_timestamp(at, 0));
    at.map_or_else(|| timestamp.to_string(), moment::printed)
}
