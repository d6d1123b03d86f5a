//! A bundle: everything in it is hashed again, and its figures are worked out again.

use super::evidence::{Input, Verdict, print_signed, recorded_at, signed_json};
use crate::Failure;
use crate::export::Figures;
use crate::output::{Out, progress, thousands};
use crate::totals::{self, Totals};
use data_encoding::HEXLOWER;
use domain::Event;
use event_log::Position;
use event_log::bundle::{self, Class, Fault, Fold, Manifest, Outcome, Scope, Seen, Summary};
use event_log::note::Policy;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Verifies a bundle and says what it is worth.
///
/// # Errors
/// [`Failure::Verdict`] where it is not whole in every part, [`Failure::File`] where it cannot be
/// read.
pub(super) async fn run(
    input: Input,
    policy: Policy,
    as_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let verified = tokio::task::spawn_blocking(move || verify(input, &policy)).await;
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

fn verify(input: Input, policy: &Policy) -> Result<(Outcome, Replay), Failure> {
    let Input { reader, length, name } = input;
    let bar = progress(length.and_then(|length| i64::try_from(length).ok()).unwrap_or(-1), "bytes");
    let mut replay = Replay::default();
    let outcome = bundle::verify(bar.wrap_read(reader), policy, &mut replay)
        .map_err(|source| Failure::File { path: name, source })?;
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
        match (&self.outcome.fault, &self.replay.fault) {
            (Some(fault), _) => fault.class.into(),
            (None, Some(_)) => Verdict::ReplayDiffers,
            (None, None) if self.outcome.summary.purged > 0 => Verdict::WholeWithGaps,
            (None, None) => Verdict::Whole,
        }
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
            answer["checkpoint"] = signed_json(checkpoint, &summary.signers, &summary.cosignatures);
        }
        if let Some(last) = &summary.last {
            answer["last"] = json!({
                "position": last.position,
                "recorded_at": recorded_at(last),
                "event_hash": HEXLOWER.encode(&last.event_hash),
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
        if let Some(last) = &summary.last {
            writeln!(out, "last one     {}", recorded_at(last).unwrap_or_default())?;
            if summary.events == 1 {
                writeln!(out, "hash         {}", HEXLOWER.encode(&last.event_hash))?;
            }
        }
        if let Some(count) = summary.count {
            writeln!(out, "of theirs    {}, as is signed", thousands(count.unsigned_abs()))?;
        }
        if let Some(checkpoint) = &summary.checkpoint {
            print_signed(checkpoint, &summary.signers, &summary.cosignatures, out)?;
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
