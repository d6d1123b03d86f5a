//! `verify BUNDLE`: what a bundle is worth, without database and network.
//!
//! The process ends with 0 when it is whole, 10 when it is whole but for bodies that were purged by
//! a recorded decision, 20 when something was changed, 21 when it is not signed as the policy asks,
//! 22 when something is missing, and 30 when the figures in it are not what its events give. What
//! is wrong first is named by position.

use crate::export::Figures;
use crate::output::{Out, progress, thousands};
use crate::totals::{self, Totals};
use crate::{Failure, moment};
use chrono::DateTime;
use data_encoding::HEXLOWER;
use domain::Event;
use event_log::Position;
use event_log::bundle::{self, Class, Fault, Fold, Manifest, Outcome, Scope, Seen, Summary};
use event_log::note::{Cosignature, Policy};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a bundle is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    WholeWithGaps,
    Changed,
    Unsigned,
    Incomplete,
    ReplayDiffers,
}

impl Verdict {
    fn of(outcome: &Outcome, differs: Option<&Fault>) -> Self {
        match (outcome.fault.as_ref().map(|fault| fault.class), differs) {
            (Some(Class::Content), _) => Self::Changed,
            (Some(Class::Signature), _) => Self::Unsigned,
            (Some(Class::Incomplete), _) => Self::Incomplete,
            (None, Some(_)) => Self::ReplayDiffers,
            (None, None) if outcome.summary.purged > 0 => Self::WholeWithGaps,
            (None, None) => Self::Whole,
        }
    }

    /// What the process ends with.
    const fn code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::WholeWithGaps => 10,
            Self::Changed => 20,
            Self::Unsigned => 21,
            Self::Incomplete => 22,
            Self::ReplayDiffers => 30,
        }
    }

    const fn name(self) -> &'static str {
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

/// Verifies a bundle and says what it is worth.
///
/// # Errors
/// [`Failure::Verdict`] where it is not whole in every part, [`Failure::File`] and
/// [`Failure::Usage`] where bundle or policy cannot be read.
pub(super) async fn run(
    path: &Path,
    policy: &Path,
    as_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let policy = read_policy(policy)?;
    let (path, started) = (path.to_owned(), Instant::now());
    let verified = tokio::task::spawn_blocking(move || verify(&path, &policy)).await;
    let (outcome, mut replay) =
        verified.map_err(|error| Failure::Problem(format!("verifying broke off: {error}")))??;
    if outcome.fault.is_none() {
        replay.compare();
    }
    let report = Report { outcome, replay, took: started.elapsed() };
    if as_json {
        writeln!(out, "{}", report.as_json())?;
    } else {
        report.print(out)?;
    }
    out.flush()?;
    match report.verdict() {
        Verdict::Whole => Ok(()),
        verdict => Err(Failure::Verdict { code: verdict.code(), what: report.story() }),
    }
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::File { path: shown.clone(), source })?;
    text.parse().map_err(|error| Failure::Usage(format!("{shown}: {error}")))
}

fn verify(path: &Path, policy: &Policy) -> Result<(Outcome, Replay), Failure> {
    let failed = |source| Failure::File { path: path.display().to_string(), source };
    let (input, length): (Box<dyn Read + Send>, i64) = if path.as_os_str() == "-" {
        (Box::new(std::io::stdin()), -1)
    } else {
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        (Box::new(file), i64::try_from(length).unwrap_or(-1))
    };
    let bar = progress(length, "bytes");
    let mut replay = Replay::default();
    let outcome = bundle::verify(bar.wrap_read(input), policy, &mut replay).map_err(failed)?;
    bar.finish_and_clear();
    Ok((outcome, replay))
}

/// Works the figures of an organization out again from its events.
#[derive(Default)]
struct Replay {
    to: i64,
    figures: Option<Figures>,
    fold: Option<totals::Fold>,
    /// Why the figures cannot be what the events give, and where that shows first.
    fault: Option<Fault>,
    worked_out: Option<Totals>,
}

impl Replay {
    fn fail(&mut self, position: i64, problem: String) {
        let class = Class::Content;
        self.fault.get_or_insert(Fault { class, position, problem });
        self.fold = None;
    }

    /// Compares what was worked out with what the bundle says, once there are no more events.
    fn compare(&mut self) {
        let (Some(fold), Some(figures)) = (self.fold.take(), &self.figures) else { return };
        let worked_out = fold.totals(Position(self.to));
        if worked_out != figures.totals {
            let problem = difference(&figures.totals, &worked_out);
            self.fail(self.to, problem);
        }
        self.worked_out = Some(worked_out);
    }
}

impl Fold for Replay {
    fn begin(&mut self, manifest: &Manifest) {
        self.to = manifest.to;
    }

    fn figures(&mut self, bytes: &[u8]) {
        match serde_json::from_slice::<Figures>(bytes) {
            Ok(figures) => {
                let aggregations = figures.aggregations.clone().into_iter().collect();
                self.fold = Some(totals::Fold::new(aggregations));
                self.figures = Some(figures);
            }
            Err(error) => self.fail(1, format!("the figures cannot be read: {error}")),
        }
    }

    fn event(&mut self, seen: &Seen<'_>) {
        let Some(fold) = &mut self.fold else { return };
        let Some(payload) = seen.payload.filter(|_| totals::is_counted(seen.type_name)) else {
            return;
        };
        let position = Position(seen.position);
        let taken = Event::decode(seen.type_name, seen.schema_version, payload)
            .map_err(|source| Failure::Event { position, source })
            .and_then(|event| fold.event(position, event));
        if let Err(error) = taken {
            self.fail(seen.position, error.story());
        }
    }
}

/// Which figures are others, in words.
fn difference(claimed: &Totals, found: &Totals) -> String {
    let (claimed, found) = (json!(claimed), json!(found));
    let names = claimed.as_object().into_iter().flatten().map(|(name, _)| name);
    let others: Vec<String> = names
        .filter(|name| claimed[name.as_str()] != found[name.as_str()])
        .map(|name| format!("{name} {} (its events give {})", claimed[name], found[name]))
        .collect();
    format!("the bundle says {}", others.join(", "))
}

/// What is said about a bundle.
struct Report {
    outcome: Outcome,
    replay: Replay,
    took: Duration,
}

impl Report {
    fn verdict(&self) -> Verdict {
        Verdict::of(&self.outcome, self.replay.fault.as_ref())
    }

    /// The first thing that is wrong.
    fn fault(&self) -> Option<&Fault> {
        self.outcome.fault.as_ref().or(self.replay.fault.as_ref())
    }

    fn rate(&self) -> u64 {
        let micros = self.took.as_micros().max(1);
        let events = u128::from(self.outcome.summary.events);
        u64::try_from(events * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    /// What is wrong, where something is.
    fn story(&self) -> String {
        match (self.verdict(), self.fault()) {
            (Verdict::WholeWithGaps, _) => format!(
                "whole, but {} bodies are gone by recorded decisions",
                thousands(self.outcome.summary.purged)
            ),
            (Verdict::ReplayDiffers, Some(fault)) => {
                format!("the events are whole, and the figures are not theirs: {fault}")
            }
            (_, Some(fault)) => fault.to_string(),
            (_, None) => String::new(),
        }
    }

    fn as_json(&self) -> Value {
        let Summary { manifest, checkpoint, .. } = &self.outcome.summary;
        let summary = &self.outcome.summary;
        let mut answer = json!({
            "verdict": self.verdict().name(),
            "exit_code": self.verdict().code(),
            "ok": matches!(self.verdict(), Verdict::Whole | Verdict::WholeWithGaps),
            "manifest": manifest,
            "events": summary.events,
            "batches": summary.batches,
            "checkpoints": summary.checkpoints,
            "purged": summary.purged,
            "events_per_second": self.rate(),
        });
        if let Some(checkpoint) = checkpoint {
            answer["checkpoint"] = json!({
                "origin": checkpoint.origin(),
                "size": checkpoint.size(),
                "root": HEXLOWER.encode(checkpoint.root()),
                "signed_by": summary.signers.iter().map(key).collect::<Vec<_>>(),
                "witnessed_by": summary.cosignatures.iter().map(cosigned).collect::<Vec<_>>(),
            });
        }
        if let Some(count) = summary.count {
            answer["organization_events"] = count.into();
        }
        if let Some(worked_out) = &self.replay.worked_out {
            answer["figures"] = json!(worked_out);
        }
        if let Some(fault) = self.fault() {
            answer["first_bad_position"] = fault.position.into();
            answer["problem"] = fault.problem.clone().into();
        }
        answer
    }

    fn print(&self, out: Out<'_>) -> Result<(), Failure> {
        let summary = &self.outcome.summary;
        if let Some(manifest) = &summary.manifest {
            let whose = match manifest.scope {
                Scope::All => "every organization".to_owned(),
                Scope::Organization(id) => format!("organization {id}"),
            };
            writeln!(out, "log          {}", manifest.log)?;
            writeln!(out, "of           {whose}, positions {} to {}", manifest.from, manifest.to)?;
        }
        writeln!(out, "events       {}", thousands(summary.events))?;
        if let Some(last) = summary.recorded_at_micros.and_then(DateTime::from_timestamp_micros) {
            writeln!(out, "last one     {}", moment::printed(last))?;
        }
        if let Some(count) = summary.count {
            writeln!(out, "of theirs    {}, as is signed", thousands(count.unsigned_abs()))?;
        }
        if let Some(checkpoint) = &summary.checkpoint {
            let names: Vec<String> = summary.signers.iter().map(key).collect();
            writeln!(out, "checkpoint   {}, signed by {}", checkpoint.size(), names.join(", "))?;
        }
        for Cosignature { name, timestamp } in &summary.cosignatures {
            writeln!(out, "witness      {name}, at {}", seconds(*timestamp))?;
        }
        if summary.purged > 0 {
            writeln!(out, "purged       {} bodies, as recorded", thousands(summary.purged))?;
        }
        if let Some(totals) = &self.replay.worked_out {
            let (balance, owed) = (&totals.balance_credits, &totals.owed_usd);
            writeln!(out, "figures      balance {balance} credits, {owed} USD owed")?;
        }
        writeln!(out, "speed        {} events/s", thousands(self.rate()))?;
        if self.verdict() == Verdict::Whole {
            writeln!(out, "The bundle is whole: nothing was changed, and nothing is missing.")?;
        }
        Ok(())
    }
}

fn key(key: &event_log::note::VerifierKey) -> String {
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
