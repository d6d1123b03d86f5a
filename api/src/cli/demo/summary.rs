//! What the demonstration shows in the end: balances, the bill of the day, what to try next.

use super::furnish::Furnished;
use super::keys;
use super::people::COMPANIES;
use super::traffic::day_before;
use crate::cli::end::Stopped;
use crate::cli::progress::grouped;
use crate::cli::session::Session;
use domain::Event;
use domain::credits::{Account, Event as CreditEvent, Verdict};
use domain::tenancy::Organization;
use domain::values::{Credits, MicroDollars, OrganizationId};
use event_log::StreamId;
use installation::DATA_DEFAULT;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// What an organization was charged, and what is left.
struct Line {
    slug: &'static str,
    tier: String,
    records: u64,
    charged: MicroDollars,
    account: Account,
}

/// The summary as text.
pub(super) async fn summary(session: &Session, made: &Furnished) -> Result<String, Stopped> {
    let mut lines = Vec::new();
    for company in COMPANIES {
        if let Some(organization_id) = made.organizations.get(company.slug) {
            lines.push(line(session, company.slug, *organization_id).await?);
        }
    }
    let mut text = match made.new {
        0 => "Nothing is new: this installation was furnished before.\n".to_owned(),
        new => format!("{} commands and usage records are new.\n", grouped(new)),
    };
    text.push_str(&format!(
        "\n{:<15} {:<15} {:>8} {:>14} {:>18} {:>14}\n",
        "organization", "tier", "records", "charged USD", "credits left", "credits owed"
    ));
    for Line { slug, tier, records, charged, account } in &lines {
        let (records, charged) = (grouped(*records), charged.to_string());
        let (left, owed) = (plain(account.balance()), plain(account.owed));
        text.push_str(&format!(
            "{slug:<15} {tier:<15} {records:>8} {charged:>14} {left:>18} {owed:>14}\n"
        ));
    }
    let day = day_before(made.made_at).format("%Y-%m-%d");
    text.push_str(&format!(
        "\nThe traffic is that of {day}, UTC. One credit is worth $0.001.\n\
         paper-plane has no credits: what it used is owed, neither lost nor free.\n"
    ));
    Ok(text)
}

/// Credits without the zeros at their end.
fn plain(credits: Credits) -> String {
    let text = credits.to_string();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

async fn line(
    session: &Session,
    slug: &'static str,
    organization_id: OrganizationId,
) -> Result<Line, Stopped> {
    let id = organization_id.to_string();
    let organization: Organization = session.state(&id).await?;
    let tier = organization.tier.map(|(tier, version)| format!("{tier} v{version}"));
    let account: Account = session.state(&id).await?;
    let (mut charged, mut records) = (MicroDollars::ZERO, 0);
    let stream = StreamId::new("credit_account", &id)?;
    for recorded in session.executor().log().read_stream(&stream, 0, None).await? {
        let (name, version) = (&recorded.type_name, recorded.schema_version);
        if let Event::CreditAccount(CreditEvent::UsageCharged(charge)) =
            Event::decode(name, version, &recorded.payload)?
        {
            charged = charged.saturating_plus(charge.total);
            let rated = |verdict: &Verdict| matches!(verdict, Verdict::Rated { .. });
            let rated = charge.lines.iter().filter(|line| rated(&line.verdict)).count();
            records += u64::try_from(rated)?;
        }
    }
    Ok(Line { slug, tier: tier.unwrap_or_default(), records, charged, account })
}

/// What to try next, with the server at an address or without one.
pub(super) fn next_steps(
    session: &Session,
    made: &Furnished,
    address: Option<SocketAddr>,
) -> Result<String, Stopped> {
    let keys = session.executor().keys();
    let printed = |name: &str| keys::key(keys, name).map(|key| key.print());
    let (admin, finance) = (printed("administrator")?, printed("fiona")?);
    let gateway = printed("magic-unicorn")?;
    let folder = match session.installation().data_dir() {
        data if data == Path::new(DATA_DEFAULT) => String::new(),
        data => format!(" --data {}", data.display()),
    };
    // Whoever came through the script of the sources goes on with it.
    let (program, replay) = match std::env::var("OPS_STARTED_AS") {
        Ok(script) if !script.is_empty() => (script.clone(), format!("{script} replay")),
        Ok(_) | Err(_) => ("opscenter".to_owned(), "opscenter-replay".to_owned()),
    };
    let server = match address {
        Some(address) => format!("The server listens at http://{address}/graphql."),
        None => format!("Start the server with `{program} serve{folder}`."),
    };
    let address = address.map_or_else(|| "127.0.0.1:8080".to_owned(), |it| it.to_string());
    let acme = made.organizations.get("acme").map(OrganizationId::to_string).unwrap_or_default();
    let period = day_before(made.made_at).format("%Y-%m");
    let balances = json!({ "query": "{ organization(slug: \"magic-unicorn\") \
        { name tier creditBalance { available owed } } }" });
    let bill = json!({ "query": format!("{{ bill(organizationId: \"{acme}\", period: \"{period}\") \
        {{ totalUsd lines {{ item records chargeUsd }} }} }}") });
    let ask = |key: &str, query: &serde_json::Value| {
        format!(
            "  curl -s http://{address}/graphql -H 'content-type: application/json' \\\n    \
             -H 'authorization: Bearer {key}' \\\n    -d '{query}'"
        )
    };
    let (balances, bill) = (ask(&admin, &balances), ask(&finance, &bill));
    Ok(format!(
        r#"
{server} API keys of this demonstration:
  Ada, administrator           {admin}
  Fiona, finance (reads only)  {finance}
  magic-unicorn's gateway      {gateway}

Ask who has which credits, as Ada:
{balances}

Read acme's bill, as Fiona:
{bill}

Check the history, and recompute a balance from it:
  {replay} verify{folder}
  {replay} totals{folder} --organization acme

Take in a whole price list (LiteLLM's), first without recording anything:
  {program} import models{folder} --dry-run model-prices.json
"#
    ))
}
