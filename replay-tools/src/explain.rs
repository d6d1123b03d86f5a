//! `explain`: from a charge to its usage, the prices in force, the arithmetic, and what paid.
//!
//! Nothing is repeated on trust. Every line of the charge is priced again by the rules, from the
//! usage record and the versions that were published before it; what paid is decided again from the
//! account as it was. Any difference to what was recorded is said and is an error.

mod catalogue;
mod find;
mod line;
mod payment;
mod print;
mod steps;

use crate::history::settle;
use crate::output::Out;
use crate::{Failure, organization, session};
use catalogue::Catalogue;
use clap::{Args, Subcommand};
use domain::catalogue::tier::CallPricing;
use domain::credits::UsageCharged;
use domain::values::{ChargeId, Code, Credits, MicroDollars, OrganizationId};
use event_log::{EventLog, Position, Recorded};
use installation::Place;
use line::Line;
use payment::Payment;
use serde::Serialize;

/// How many lines are shown unless all are asked for.
const SHOWN: usize = 20;

/// What to explain.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay explain charge chg_01…
  opscenter-replay explain charge chg_01… --line 3
  opscenter-replay explain charge chg_01… --all --json
  opscenter-replay explain usage 812

Charges are found with `opscenter-replay events --type usage_charged`.")]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand, Clone, Debug)]
enum Subject {
    /// A charge: its usage, prices, arithmetic, and what paid
    Charge(OfCharge),
    /// A usage record: the charge it is in, and its line there
    Usage(OfUsage),
}

#[derive(Args, Clone, Debug)]
struct OfCharge {
    /// The charge's id, chg_…
    id: ChargeId,
    /// Only this line of it, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "usage")]
    line: Option<usize>,
    /// Only the line of the usage record at this position
    #[arg(long, value_name = "POSITION")]
    usage: Option<i64>,
    /// Every line, instead of the first 20
    #[arg(long)]
    all: bool,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug)]
struct OfUsage {
    /// Where the usage record stands in the log
    position: i64,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// A charge with everything that it follows from.
#[derive(Debug, Serialize)]
struct Explained {
    charge_id: ChargeId,
    position: i64,
    recorded_at: String,
    organization: OrganizationId,
    slug: Code,
    period: String,
    tier: Code,
    tier_version: u32,
    tier_position: Option<i64>,
    rate_card_version: u32,
    rate_card_position: Option<i64>,
    pricing: CallPricing,
    lines: usize,
    quarantined: usize,
    shown: Vec<Line>,
    total_usd: MicroDollars,
    recomputed_usd: MicroDollars,
    paid: Vec<Payment>,
    owed_credits: Credits,
    owed_usd: String,
    differences: Vec<String>,
}

/// Which lines of a charge are shown.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    First(usize),
    Line(usize),
    Usage(i64),
}

/// Prints the explanation.
///
/// # Errors
/// [`Failure::Problem`] when what was recorded is not what the rules say.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let result = match &options.subject {
        Subject::Charge(charge) => of_charge(installation.log(), charge, out).await,
        Subject::Usage(usage) => of_usage(installation.log(), usage, out).await,
    };
    installation.close().await;
    result
}

async fn of_charge(log: &EventLog, options: &OfCharge, out: Out<'_>) -> Result<(), Failure> {
    let (recorded, charge) = find::charge(log, options.id).await?;
    let wanted = match (options.line, options.usage) {
        (Some(line), _) => Wanted::Line(line),
        (None, Some(position)) => Wanted::Usage(position),
        (None, None) if options.all => Wanted::First(usize::MAX),
        (None, None) => Wanted::First(SHOWN),
    };
    wanted.refuse_absent(&charge)?;
    let explained = explain(log, &recorded, &charge, wanted).await?;
    answer(log, &explained, options.json, out).await
}

async fn of_usage(log: &EventLog, options: &OfUsage, out: Out<'_>) -> Result<(), Failure> {
    let position = Position(options.position);
    let Some((recorded, charge)) = find::charge_of_usage(log, position).await? else {
        settle(log).await;
        if options.json {
            writeln!(
                out,
                "{}",
                serde_json::json!({ "usage_position": position, "charge_id": null })
            )?;
        } else {
            writeln!(
                out,
                "the usage record at position {position} is not charged yet; a running server \
                 charges it"
            )?;
        }
        return Ok(());
    };
    let explained = explain(log, &recorded, &charge, Wanted::Usage(position.0)).await?;
    answer(log, &explained, options.json, out).await
}

async fn answer(
    log: &EventLog,
    explained: &Explained,
    json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    settle(log).await;
    if json {
        writeln!(out, "{}", serde_json::to_string(explained)?)?;
    } else {
        print::explanation(explained, out)?;
    }
    match explained.differences.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::Problem(format!("charge {}: {one}", explained.charge_id))),
        [first, rest @ ..] => Err(Failure::Problem(format!(
            "charge {}: {first}, and {} more differences",
            explained.charge_id,
            rest.len()
        ))),
    }
}

/// Prices every line again and decides again what paid.
async fn explain(
    log: &EventLog,
    recorded: &Recorded,
    charge: &UsageCharged,
    wanted: Wanted,
) -> Result<Explained, Failure> {
    let id = OrganizationId::new(recorded.tenant);
    let found = organization::find(log, &id.to_string(), recorded.position).await?;
    let mut catalogue = Catalogue::of_charge(log, recorded, charge).await?;
    let (lines, mut differences) = line::all(log, recorded, charge, &mut catalogue).await?;
    let recomputed = lines
        .iter()
        .try_fold(MicroDollars::ZERO, |sum, line| sum.plus(line.recomputed))
        .ok_or_else(|| Failure::Problem("the lines add up to more than fits".to_owned()))?;
    if recomputed != charge.total {
        differences.push(format!("the total is {}, recomputed {recomputed}", charge.total));
    }
    let paid = payment::check(log, recorded, charge, &mut differences).await?;
    Ok(Explained {
        charge_id: charge.charge_id,
        position: recorded.position.0,
        recorded_at: crate::moment::printed(recorded.recorded_at),
        organization: id,
        slug: found.slug,
        period: charge.period.clone(),
        tier: charge.tier.clone(),
        tier_version: charge.tier_version,
        tier_position: catalogue.tier_position(charge.tier_version),
        rate_card_version: charge.rate_card_version,
        rate_card_position: catalogue.rate_card_position(charge.rate_card_version),
        pricing: charge.pricing,
        lines: lines.len(),
        quarantined: lines.iter().filter(|line| line.quarantined.is_some()).count(),
        shown: lines.into_iter().filter(|line| wanted.includes(line)).collect(),
        total_usd: charge.total,
        recomputed_usd: recomputed,
        paid,
        owed_credits: charge.owed,
        owed_usd: crate::output::dollars(charge.owed),
        differences,
    })
}

impl Wanted {
    const fn includes(self, line: &Line) -> bool {
        match self {
            Self::First(count) => line.line <= count,
            Self::Line(number) => line.line == number,
            Self::Usage(position) => line.usage_position == position,
        }
    }

    fn refuse_absent(self, charge: &UsageCharged) -> Result<(), Failure> {
        let count = charge.lines.len();
        match self {
            Self::Line(number) if number == 0 || number > count => Err(Failure::Usage(format!(
                "charge {} has no line {number}; its lines are 1 to {count}",
                charge.charge_id
            ))),
            Self::Usage(position)
                if !charge.lines.iter().any(|line| line.usage_position == position) =>
            {
                Err(Failure::Usage(format!(
                    "charge {} has no line for position {position}; ask `explain usage {position}`",
                    charge.charge_id
                )))
            }
            Self::First(_) | Self::Line(_) | Self::Usage(_) => Ok(()),
        }
    }
}
