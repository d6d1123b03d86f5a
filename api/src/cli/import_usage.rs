//! `opscenter import usage FILE`: records usage from CSV or JSON Lines of any size.
//!
//! A row is known by the file's content and its number, or by an id of its own: importing a file
//! again, or going on after the process was killed, records nothing twice. Unless told otherwise, a
//! file with a fault is not recorded at all: every fault is named by line and column first.

mod check;
mod file;
mod mapping;
mod outcome;
mod record;
mod rows;
mod timestamp;

pub use mapping::{Mapping, MappingError};
pub use outcome::{RefusedRow, UsageImported};
pub use rows::Format;

use super::end::{End, Stopped};
use super::progress::{Counts, bar};
use super::session::Session;
use super::suggest::did_you_mean;
use check::{Checker, Models, check_charge, check_model};
use chrono::{DateTime, TimeDelta};
use clap::{Args, ValueEnum};
use commands::{Executor, Failure, PriceBook};
use domain::catalogue::rate_card::PowerLevel;
use domain::tenancy::{Event as OrganizationEvent, Organization};
use domain::values::{OrganizationId, Text};
use domain::{Event, Instant};
use file::Input;
use installation::{Access, Place};
use record::{Manner, Target};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The beginning of 2000: whatever claims to be older is a mistake in the file.
const EARLIEST: i64 = 946_684_800;
/// How far a clock may be ahead of ours.
const AHEAD: TimeDelta = TimeDelta::days(1);

const EXAMPLES: &str = "\
Examples:
  opscenter import usage calls.csv --organization acme --model gpt-4o \\
      --map occurred_at=TIMESTAMP,llm_tokens_input=ContextTokens,llm_tokens_output=GeneratedTokens
  opscenter import usage calls.jsonl --organization acme --source gateway-1 --id-column id \\
      --map occurred_at=time,model=model,llm_tokens_input=usage.prompt_tokens
  zcat calls.csv.gz | opscenter import usage - --source gateway-1 --id-column id …

Times are RFC 3339, `2023-11-16 18:15:46.68` (UTC), or seconds or milliseconds since 1970;
quantities are whole numbers. Importing a file again records nothing twice. Exit status:
0 everything is recorded; 1 nothing was, or not everything (import again, which is always safe);
3 everything is recorded except for rows that were refused and reported.";

/// What to do about a row that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Report all such rows and record nothing
    Stop,
    /// Report it and record the others
    Skip,
}

/// Record usage from a file
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ImportUsage {
    /// A CSV or JSON Lines file; `-` reads standard input and needs --source and --id-column
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Whose usage it is: the short name or the id of an organization
    #[arg(long, value_name = "ORG")]
    pub organization: String,
    /// The model that was called, unless a column says it
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Which column says what: occurred_at, meters, and model where the rows differ
    #[arg(long, value_name = "METER=COLUMN,…")]
    pub map: Mapping,
    /// At which power the model was called
    #[arg(long, value_name = "LEVEL", default_value = "precision")]
    pub power_level: PowerLevel,
    /// The system that tells; the same record of the same source counts once, whatever the file
    #[arg(long, value_name = "NAME")]
    pub source: Option<Text>,
    /// The column with the source's own id of each row
    #[arg(long, value_name = "COLUMN", requires = "source")]
    pub id_column: Option<String>,
    /// How the file is written; by its name, unless given
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// What separates the columns of a CSV file: a character, or `tab`
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
    /// What to do about rows that cannot be recorded
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    pub on_error: OnError,
    /// Charge models that are on no price list by their provider's rate
    #[arg(long)]
    pub unlisted_model: bool,
    /// Check the file and say what it would cost, and record nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait until what was recorded is charged
    #[arg(long)]
    pub no_charge: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err("one character is needed, such as , or ; or the word tab".to_owned()),
    }
}

/// Why an import cannot begin.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("there is no organization {given:?}{near}")]
    NoOrganization { given: String, near: String },
    #[error("{0}")]
    NoCharge(String),
    #[error(
        "standard input is read once and its rows have no numbers to be known by; give --source \
         and --id-column"
    )]
    Nameless,
    #[error("tier {0} of the organization is not published; publish it first")]
    NoTier(String),
}

/// Whose usage it is, and how that organization is charged.
struct Payer {
    organization_id: OrganizationId,
    pricing: domain::catalogue::tier::CallPricing,
}

impl ImportUsage {
    /// Imports, prints, and says how it ended.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let input = Input::of(&self.file);
        if input == Input::Stdin && self.id_column.is_none() {
            return Err(Unfit::Nameless.into());
        }
        input.stamp()?;
        input.check_plain()?;
        let session = Session::open(place, Access::Write).await?;
        let imported = self.import(&session, &input).await;
        session.close().await;
        let imported = imported?;
        let stops = self.on_error == OnError::Stop;
        let end = imported.end(stops);
        let (name, payer) = (input.name(), self.organization.as_str());
        imported.print(self.json, (&name, payer), end == End::Refused)?;
        Ok(end)
    }

    async fn import(&self, session: &Session, input: &Input) -> Result<UsageImported, Stopped> {
        let executor = session.executor();
        let head = executor.log().head().await?;
        let book = Arc::new(PriceBook::at(executor.log(), head).await?);
        let payer = self.payer(session, &book).await?;
        let now = executor.clock().now();
        let mut imported = UsageImported {
            dry_run: self.dry_run,
            organization: payer.organization_id.to_string(),
            ..UsageImported::default()
        };
        let stamp = input.stamp()?;
        let length = stamp.map(|stamp| stamp.bytes);
        let stops = self.on_error == OnError::Stop;
        let format = self.format.unwrap_or_else(|| input.format());
        let manner = Manner { format, delimiter: self.delimiter, stops };
        let checker = |source: Text| self.checker(&book, &payer, source, now);
        // Standard input can be read but once: it is recorded as it comes.
        let looks = self.dry_run || (stops && *input != Input::Stdin);
        let mut named = self.source.clone();
        if looks || named.is_none() {
            let shown = bar(self.json, Counts::Bytes, "checking the file", length);
            // What the rows are called does not matter for whether they are in order.
            let mut checker = checker("check".parse()?)?;
            let from = input.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let mut seen = UsageImported::default();
                let hash = match looks {
                    true => record::look_through(&from, manner, &mut checker, shown, &mut seen),
                    false => record::hash(&from, shown),
                };
                hash.map(|hash| (hash, seen))
            });
            let (hash, seen) = looked.await.map_err(|_| record::RecordError::Ended)??;
            imported.adopt(seen);
            named = Some(named.map_or_else(|| format!("file:{hash}").parse(), Ok)?);
        }
        let source = named.ok_or(Unfit::Nameless)?;
        imported.source = source.to_string();
        imported.warnings.extend(input.cut_off()?);
        // A file with a fault is not begun with; only standard input cannot be looked at first.
        let begins = !self.dry_run && (!looks || imported.refused == 0);
        if begins {
            imported.forget_look();
            let checker = checker(source.clone())?;
            let target = Target { executor, organization_id: payer.organization_id, source };
            let shown = bar(self.json, Counts::Bytes, "recording the usage", length);
            let recorded =
                record::record(target, input, manner, checker, shown.clone(), &mut imported).await;
            shown.finish_and_clear();
            recorded?;
            input.check_unchanged(stamp)?;
            imported.charged = self.charge(session).await?;
        }
        imported.price_usd = imported.price.to_string();
        Ok(imported)
    }

    async fn charge(&self, session: &Session) -> Result<bool, Failure> {
        if self.no_charge {
            return Ok(false);
        }
        let head = session.executor().log().head().await?;
        session.settle_up_to(head, self.json).await?;
        Ok(true)
    }

    async fn payer(&self, session: &Session, book: &PriceBook) -> Result<Payer, Stopped> {
        let executor = session.executor();
        let given = &self.organization;
        let organization_id = match given.parse::<OrganizationId>() {
            Ok(id) => Some(id),
            Err(_) => executor.organization_named(given).await?,
        };
        let unknown = |near| Unfit::NoOrganization { given: given.clone(), near };
        let Some(organization_id) = organization_id else {
            return Err(unknown(self.near_organizations(executor).await?).into());
        };
        let organization: Organization = session.state(&organization_id.to_string()).await?;
        let (tier, version) = organization.tier.ok_or_else(|| unknown(String::new()))?;
        let pricing = book.pricing(&tier, version);
        let pricing = pricing.ok_or_else(|| Unfit::NoTier(format!("{tier} version {version}")))?;
        Ok(Payer { organization_id, pricing })
    }

    async fn near_organizations(&self, executor: &Executor) -> Result<String, Failure> {
        let mut slugs = Vec::new();
        for recorded in executor.log().read_kind("organization", None).await? {
            let (name, version) = (&recorded.type_name, recorded.schema_version);
            if let Event::Organization(OrganizationEvent::OrganizationCreated(created)) =
                Event::decode(name, version, &recorded.payload)?
            {
                slugs.push(created.slug.to_string());
            }
        }
        let near = did_you_mean(&self.organization, slugs.iter().map(String::as_str));
        if near.is_empty() && !slugs.is_empty() {
            slugs.truncate(10);
            return Ok(format!("; there are {}", slugs.join(", ")));
        }
        Ok(if slugs.is_empty() { "; there are none yet".to_owned() } else { near })
    }

    fn checker(
        &self,
        book: &Arc<PriceBook>,
        payer: &Payer,
        source: Text,
        now: Instant,
    ) -> Result<Checker, Unfit> {
        let checked = |name| check_model(book, name, self.unlisted_model).map_err(Unfit::NoCharge);
        let of_all = self.model.as_deref().map(checked).transpose()?;
        let known = HashMap::new();
        let models =
            Models { book: Arc::clone(book), of_all, unlisted: self.unlisted_model, known };
        check_charge(book, &self.map.meters, &models, self.map.model.is_some())
            .map_err(Unfit::NoCharge)?;
        Ok(Checker {
            mapping: self.map.clone(),
            id_column: self.id_column.clone(),
            source,
            models,
            power: self.power_level,
            pricing: payer.pricing,
            latest: now + AHEAD,
            earliest: DateTime::from_timestamp(EARLIEST, 0).unwrap_or(now),
        })
    }
}
