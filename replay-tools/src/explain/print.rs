//! The explanation as people read it.

use super::Explained;
use super::line::Line;
use super::payment::Payment;
use crate::output::Out;
use domain::catalogue::tier::CallPricing;
use domain::credits::GrantSource;
use std::io;

const INDENT: &str = "        ";

pub(super) fn explanation(explained: &Explained, out: Out<'_>) -> io::Result<()> {
    let Explained { charge_id, position, recorded_at, slug, organization, period, .. } = explained;
    writeln!(out, "{charge_id}, position {position}, recorded {recorded_at}")?;
    writeln!(out, "organization   {slug} ({organization}), usage of {period}")?;
    writeln!(
        out,
        "tier           {} version {}{}",
        explained.tier,
        explained.tier_version,
        published(explained.tier_position)
    )?;
    writeln!(out, "rule           {}", rule(explained.pricing))?;
    writeln!(
        out,
        "rate card      version {}{}",
        explained.rate_card_version,
        published(explained.rate_card_position)
    )?;
    for line in &explained.shown {
        writeln!(out)?;
        of_line(line, out)?;
    }
    let hidden = explained.lines - explained.shown.len();
    if hidden > 0 {
        writeln!(
            out,
            "\n{} of {} lines are shown; --all shows every one",
            explained.shown.len(),
            explained.lines
        )?;
    }
    if explained.quarantined > 0 {
        writeln!(out, "\n{} records have no price and wait for a person", explained.quarantined)?;
    }
    writeln!(out)?;
    writeln!(out, "total          {} USD of {} lines", explained.total_usd, explained.lines)?;
    writeln!(out, "recomputed     {} USD", explained.recomputed_usd)?;
    for payment in &explained.paid {
        writeln!(out, "paid by        {}", of_payment(payment))?;
    }
    if explained.owed_credits.is_positive() {
        writeln!(
            out,
            "owed           {} credits ({} USD) that nothing paid for",
            explained.owed_credits, explained.owed_usd
        )?;
    }
    if explained.differences.is_empty() {
        return writeln!(out, "Every line, the total and what paid are what the rules give.");
    }
    writeln!(out, "\nDifferences to what the rules give:")?;
    explained.differences.iter().try_for_each(|what| writeln!(out, "  {what}"))
}

fn of_line(line: &Line, out: Out<'_>) -> io::Result<()> {
    writeln!(
        out,
        "line {:<3} usage at position {}, {} of {}, occurred {}",
        line.line, line.usage_position, line.usage_id, line.source, line.occurred_at
    )?;
    if let Some(model) = &line.model {
        match (line.model_version, line.model_position) {
            (Some(version), Some(position)) => writeln!(
                out,
                "{INDENT}{model}, price version {version} (published at position {position})"
            )?,
            (_, _) => writeln!(out, "{INDENT}{model}, on no price list: the rate card's price")?,
        }
    }
    for step in &line.steps {
        writeln!(out, "{INDENT}{step}")?;
    }
    match &line.quarantined {
        Some(reason) => writeln!(out, "{INDENT}set aside: {reason}"),
        None => writeln!(out, "{INDENT}charged {} USD", line.charge),
    }
}

fn published(position: Option<i64>) -> String {
    position.map_or_else(
        || ", which was never published".to_owned(),
        |position| format!(" (published at position {position})"),
    )
}

fn rule(pricing: CallPricing) -> String {
    match pricing {
        CallPricing::Markup { percent } => format!("list price + {percent} %"),
        CallPricing::OwnKeyFee { percent, minimum } => {
            format!("own key: {percent} % of the list price, at least {minimum} credits a call")
        }
    }
}

fn of_payment(payment: &Payment) -> String {
    let Payment { grant_id, credits, kind, source } = payment;
    let kind = kind.map_or("unknown", |kind| kind.as_str());
    let from = match source {
        Some(GrantSource::Tier { tier, version }) => format!("tier {tier} version {version}"),
        Some(GrantSource::Purchase { purchase_id }) => format!("purchase {purchase_id}"),
        Some(GrantSource::Manual { reason }) => format!("granted by hand: {reason}"),
        None => "no grant that was ever given".to_owned(),
    };
    format!("{credits} credits of {grant_id} ({kind}; {from})")
}
