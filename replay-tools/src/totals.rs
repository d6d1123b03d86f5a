//! `totals`: what an organization used, what it was charged, what it has and what it owes, folded
//! from the log itself.
//!
//! No read model is asked: this is what read models, bills and imports are compared with. Every
//! charge is checked against itself on the way (its lines add up to its total, what paid and what
//! is owed add up to it, no record is charged twice); a difference is an error, never a figure.

use crate::history::{Filter, Scan, decode, settle};
use crate::moment::{Moment, printed, resolve};
use crate::output::{Out, dollars, progress, thousands};
use crate::{Failure, organization, session};
use clap::Args;
use domain::catalogue::meter::{Aggregation, Event as MeterEvent};
use domain::credits::{Account, Event as CreditEvent, UsageCharged};
use domain::metering::{Event as UsageEvent, UsageRecorded};
use domain::values::{Code, MicroDollars};
use domain::{Aggregate, Event};
use event_log::{EventLog, Position, Recorded};
use installation::Place;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The meter that counts calls of models: a record that names a model counts one, unless it states
/// itself how many it stands for.
const API_CALLS: &str = "api_calls";

/// Whose totals, and as of when.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay totals --organization acme
  opscenter-replay totals --organization acme --as-of 2026-12-01 --json
  opscenter-replay totals --organization org_01… --as-of 19366 --json

Balance and debt are what the log says at that position. Credits whose time is over leave the
balance when that is recorded. Dollars have six digits after the point.")]
pub(crate) struct Options {
    /// The organization, by id or slug
    #[arg(long, value_name = "ORG")]
    pub(crate) organization: String,
    /// As of this position (with it) or time (what was recorded at or before it); now by default
    #[arg(long, value_name = "TIME|POSITION")]
    pub(crate) as_of: Option<Moment>,
    /// Answer as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The totals of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Totals {
    /// How much of each meter.
    pub(crate) meters: BTreeMap<Code, u64>,
    /// What usage was charged, in dollars.
    pub(crate) charge_usd: String,
    /// Credits neither spent, held, expired nor taken back.
    pub(crate) balance_credits: String,
    /// What no credits paid for yet, in dollars.
    pub(crate) owed_usd: String,
    /// As of which position.
    pub(crate) position: i64,
    /// Usage records that no charge covers yet.
    pub(crate) uncharged_records: u64,
}

/// Prints the totals.
///
/// # Errors
/// [`Failure::Problem`] where a charge contradicts itself.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let result = answer(installation.log(), options, out).await;
    installation.close().await;
    result
}

async fn answer(log: &EventLog, options: &Options, out: Out<'_>) -> Result<(), Failure> {
    let to = resolve(log, options.as_of).await?;
    let found = organization::find(log, &options.organization, to).await?;
    let totals = of(log, &found, to).await?;
    settle(log).await;
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&totals)?)?;
        return Ok(out.flush()?);
    }
    let at = log.recorded_at(to).await?.map(printed).unwrap_or_default();
    writeln!(out, "{} ({})", found.slug, found.id)?;
    writeln!(out, "as of position {to}, recorded {at}\n")?;
    for (meter, figure) in &totals.meters {
        writeln!(out, "  {:<24} {:>20}", meter.as_str(), thousands(*figure))?;
    }
    writeln!(out, "\n  {:<24} {:>20}", "charged, USD", totals.charge_usd)?;
    writeln!(out, "  {:<24} {:>20}", "balance, credits", totals.balance_credits)?;
    writeln!(out, "  {:<24} {:>20}", "owed, USD", totals.owed_usd)?;
    if totals.uncharged_records > 0 {
        writeln!(
            out,
            "\n{} usage records are not charged yet; a running server charges them",
            thousands(totals.uncharged_records)
        )?;
    }
    Ok(out.flush()?)
}

/// Folds the totals of an organization up to a position.
///
/// # Errors
/// [`Failure::Problem`] where a charge contradicts itself.
pub(crate) async fn of(
    log: &EventLog,
    organization: &organization::Found,
    to: Position,
) -> Result<Totals, Failure> {
    let mut fold = Fold::new(aggregations(log, to).await?);
    let filter = Filter {
        tenant: Some(organization.id.uuid()),
        types: names(&[UsageEvent::NAMES, CreditEvent::NAMES]),
        ..Filter::default()
    };
    let bar = progress(to.0, "positions");
    let mut scan = Scan::new(log, filter, Position::START, to);
    while let Some(page) = scan.next().await? {
        for recorded in &page {
            fold.take(recorded)?;
        }
        bar.set_position(u64::try_from(scan.position().0).unwrap_or_default());
    }
    bar.finish_and_clear();
    Ok(fold.totals(to))
}

/// Whether events of this name count.
pub(crate) fn is_counted(type_name: &str) -> bool {
    let mut names = UsageEvent::NAMES.iter().chain(CreditEvent::NAMES);
    names.any(|(name, _)| *name == type_name)
}

fn names(lists: &[&[(&'static str, i16)]]) -> Vec<String> {
    lists.iter().flat_map(|list| list.iter().map(|(name, _)| (*name).to_owned())).collect()
}

/// How each meter that is defined adds up.
pub(crate) async fn aggregations(
    log: &EventLog,
    to: Position,
) -> Result<HashMap<Code, Aggregation>, Failure> {
    let mut defined = HashMap::new();
    for recorded in log.read_kind("meter", Some(to)).await? {
        if let Ok(MeterEvent::MeterDefined(meter)) = decode(&recorded)?.try_into() {
            defined.insert(meter.meter, meter.aggregation);
        }
    }
    Ok(defined)
}

/// What is known after a part of the log.
pub(crate) struct Fold {
    aggregations: HashMap<Code, Aggregation>,
    meters: BTreeMap<Code, u64>,
    calls: u64,
    account: Account,
    charged: MicroDollars,
    records: u64,
    lines: u64,
}

impl Fold {
    /// Before the first event, with how each meter adds up.
    pub(crate) fn new(aggregations: HashMap<Code, Aggregation>) -> Self {
        Self {
            aggregations,
            meters: BTreeMap::new(),
            calls: 0,
            account: Account::default(),
            charged: MicroDollars::ZERO,
            records: 0,
            lines: 0,
        }
    }

    fn take(&mut self, recorded: &Recorded) -> Result<(), Failure> {
        self.event(recorded.position, decode(recorded)?)
    }

    /// Takes the next event of the organization's usage or credits.
    ///
    /// # Errors
    /// [`Failure::Problem`] where it contradicts itself or what came before.
    pub(crate) fn event(&mut self, position: Position, event: Event) -> Result<(), Failure> {
        if let Event::Usage(UsageEvent::UsageRecorded(usage)) = &event {
            return self.used(usage, position);
        }
        let wrong =
            |why: &dyn std::fmt::Display| Failure::Problem(format!("position {position}: {why}"));
        let event = CreditEvent::try_from(event).map_err(|error| wrong(&error))?;
        if let CreditEvent::UsageCharged(charge) = &event {
            self.charge(charge).map_err(|why| wrong(&why))?;
        }
        self.account = std::mem::take(&mut self.account).evolve(&event);
        Ok(())
    }

    fn used(&mut self, usage: &UsageRecorded, position: Position) -> Result<(), Failure> {
        let full = |meter: &str| {
            Failure::Problem(format!("position {position}: {meter} adds up to more than fits"))
        };
        self.records += 1;
        let states_calls = usage.quantities.keys().any(|meter| meter.as_str() == API_CALLS);
        if usage.model.is_some() && !states_calls {
            self.calls = self.calls.checked_add(1).ok_or_else(|| full(API_CALLS))?;
        }
        for (meter, quantity) in &usage.quantities {
            let aggregation = self.aggregations.get(meter).copied().unwrap_or(Aggregation::Sum);
            let figure = self.meters.entry(meter.clone()).or_default();
            *figure = match aggregation {
                Aggregation::Max => (*figure).max(*quantity),
                Aggregation::Count | Aggregation::Sum => {
                    figure.checked_add(*quantity).ok_or_else(|| full(meter.as_str()))?
                }
            };
        }
        Ok(())
    }

    /// Checks a charge against itself and against what was charged before.
    fn charge(&mut self, charge: &UsageCharged) -> Result<(), String> {
        let id = charge.charge_id;
        let too_much = || format!("charge {id} is more than fits");
        let (mut through, mut sum) = (self.account.charged_through, MicroDollars::ZERO);
        for line in &charge.lines {
            if line.usage_position <= through {
                let at = line.usage_position;
                return Err(format!("charge {id} charges the record at {at} a second time"));
            }
            through = line.usage_position;
            sum = sum.plus(line.charge()).ok_or_else(too_much)?;
        }
        if sum != charge.total {
            let total = charge.total;
            return Err(format!("the lines of charge {id} add up to {sum}, its total is {total}"));
        }
        let paid = charge
            .consumed
            .iter()
            .try_fold(charge.owed, |paid, part| paid.plus(part.credits))
            .ok_or_else(too_much)?;
        if Some(paid) != charge.total.in_credits() {
            return Err(format!(
                "charge {id} is {} dollars, and what paid and is owed is {paid} credits",
                charge.total
            ));
        }
        self.charged = self.charged.plus(sum).ok_or_else(too_much)?;
        self.lines += u64::try_from(charge.lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The totals after the last event, as of a position.
    pub(crate) fn totals(mut self, to: Position) -> Totals {
        if let Ok(code) = API_CALLS.parse::<Code>()
            && self.calls > 0
        {
            let figure = self.meters.entry(code).or_default();
            *figure = figure.saturating_add(self.calls);
        }
        Totals {
            meters: self.meters,
            charge_usd: self.charged.to_string(),
            balance_credits: self.account.balance().to_string(),
            owed_usd: dollars(self.account.owed),
            position: to.0,
            uncharged_records: self.records.saturating_sub(self.lines),
        }
    }
}
