//! `opscenter import models FILE`: takes a price list into the catalogue.
//!
//! Every priced entry becomes one command on its model, so that a price that changed is a new
//! version beside the old one, and one that did not change records nothing. What is left out is
//! counted by reason; an entry that merely states no price is no fault of the list.

mod entry;
mod price_list;

use super::end::{End, Stopped, print};
use super::progress::{Counts, bar, grouped};
use super::session::Session;
use clap::Args;
use commands::{Caller, CatalogueCommand, Executor, Failure, PriceBook, Request, new_command_id};
use domain::catalogue::model::ModelPriced;
use entry::LeftOut;
use event_log::Position;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use installation::{Access, Place};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// How many commands are on their way at once; the log commits them together.
const IN_FLIGHT: usize = 64;

const EXAMPLES: &str = "\
Examples:
  opscenter import models model-prices.json
  opscenter import models model-prices.json --dry-run --verbose
  opscenter import models model-prices.json --json | jq .left_out

The file is a JSON object of model names and entries with `litellm_provider`, `mode` and prices such
as `input_cost_per_token` in US dollars, as LiteLLM publishes it. Importing again records only what
changed. Exit status: 0 done, 1 nothing or not everything was done (import again, which is always
safe), 3 done, except for entries that could not be read.";

/// Take a price list of models into the catalogue
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ImportModels {
    /// The price list, a JSON file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Say what would be recorded, and record nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Name every entry that is left out, with its reason
    #[arg(long, short)]
    pub verbose: bool,
}

/// What became of a price list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelsImported {
    /// Whether nothing was to be recorded.
    pub dry_run: bool,
    /// Entries of the list.
    pub entries: u64,
    /// Those that state at least one price.
    pub priced: u64,
    /// Models that were not known before.
    pub added: u64,
    /// Models with a new version of their prices.
    pub changed: u64,
    /// Models whose prices are as they were.
    pub unchanged: u64,
    /// Priced models of which no tokens are sold; a part of the above.
    pub not_sold_by_token: u64,
    /// How many entries were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Each of them.
    pub left_out_entries: Vec<LeftOutEntry>,
    /// Position of the first new event.
    pub first_position: Option<i64>,
    /// Position of the last new event.
    pub last_position: Option<i64>,
}

/// An entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutEntry {
    /// The name that the list gives it.
    pub model: String,
    /// Why.
    pub reason: String,
}

impl ImportModels {
    /// Imports, prints, and says how it ended.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let text = price_list::read(&self.file)?;
        let entries = price_list::entries(&self.file, &text)?;
        let session = Session::open(place, Access::Write).await?;
        let imported = self.import(session.executor(), entries).await;
        session.close().await;
        let imported = imported?;
        self.print(&imported)?;
        let unread = imported.left_out.keys().any(|kind| *kind != LeftOut::NoPrice.kind());
        Ok(if unread { End::Partly } else { End::Done })
    }

    async fn import(
        &self,
        executor: &Executor,
        entries: Vec<(String, &serde_json::value::RawValue)>,
    ) -> Result<ModelsImported, Failure> {
        let head = executor.log().head().await?;
        let book = PriceBook::at(executor.log(), head).await?;
        let mut imported = ModelsImported {
            dry_run: self.dry_run,
            entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
            ..ModelsImported::default()
        };
        let mut names = HashSet::new();
        let mut news = Vec::new();
        for (name, raw) in entries {
            let read = match names.insert(name.clone()) {
                true => entry::read(&name, raw),
                false => Err(LeftOut::Twice),
            };
            match read {
                Ok(priced) => imported.sort_in(&book, priced, &mut news),
                Err(reason) => imported.leave_out(name, reason.kind(), reason.to_string()),
            }
        }
        if !self.dry_run {
            let length = u64::try_from(news.len()).ok();
            let shown = bar(self.json, Counts::Things, "recording the prices", length);
            imported.record(executor, news, &shown).await?;
            shown.finish_and_clear();
        }
        Ok(imported)
    }

    fn print(&self, imported: &ModelsImported) -> Result<(), Stopped> {
        if self.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(imported)?));
        }
        let mut lines = Vec::new();
        if self.verbose {
            let named = |left: &LeftOutEntry| format!("left out {:?}: {}", left.model, left.reason);
            lines.extend(imported.left_out_entries.iter().map(named));
        }
        let (would, verb) = if self.dry_run { ("would be ", "checked") } else { ("", "read") };
        let file = self.file.display();
        lines.push(format!("{} entries {verb} in {file}", grouped(imported.entries)));
        lines.push(format!("  {} {would}loaded as new models", grouped(imported.added)));
        lines.push(format!("  {} {would}loaded as new prices", grouped(imported.changed)));
        lines.push(format!("  {} unchanged", grouped(imported.unchanged)));
        if imported.not_sold_by_token > 0 {
            let count = grouped(imported.not_sold_by_token);
            lines.push(format!("  {count} of these are sold by something else than the token"));
        }
        for (reason, count) in &imported.left_out {
            lines.push(format!("  {} left out: the entry {reason}", grouped(*count)));
        }
        if !imported.left_out.is_empty() && !self.verbose {
            lines.push("  --verbose names what was left out".to_owned());
        }
        if self.dry_run {
            lines.push("nothing was recorded: this was a dry run".to_owned());
        }
        print(&format!("{}\n", lines.join("\n")))
    }
}

impl ModelsImported {
    fn leave_out(&mut self, model: String, kind: &str, reason: String) {
        *self.left_out.entry(kind.to_owned()).or_default() += 1;
        self.left_out_entries.push(LeftOutEntry { model, reason });
    }

    /// Counts a priced entry, and keeps it when it says something new.
    fn sort_in(&mut self, book: &PriceBook, priced: ModelPriced, news: &mut Vec<ModelPriced>) {
        self.priced += 1;
        self.not_sold_by_token += u64::from(priced.tokens.is_empty());
        match book.model(&priced.model) {
            Some(known)
                if (ModelPriced { version: known.version, ..priced.clone() }) == **known =>
            {
                self.unchanged += 1;
                return;
            }
            Some(_) => self.changed += 1,
            None => self.added += 1,
        }
        news.push(priced);
    }

    async fn record(
        &mut self,
        executor: &Executor,
        news: Vec<ModelPriced>,
        shown: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut answers = futures_util::stream::iter(news)
            .map(|priced| async move {
                let name = priced.model.to_string();
                (name, price(executor, priced).await)
            })
            .buffer_unordered(IN_FLIGHT);
        while let Some((name, answer)) = answers.next().await {
            shown.inc(1);
            match answer {
                Ok(Some(position)) => {
                    let first = self.first_position.map_or(position.0, |at| at.min(position.0));
                    let last = self.last_position.map_or(position.0, |at| at.max(position.0));
                    (self.first_position, self.last_position) = (Some(first), Some(last));
                }
                Ok(None) => {}
                Err(Failure::Refused(refusal)) => {
                    self.leave_out(name, "was refused", refusal.to_string());
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

/// States a model's prices; the position of what that recorded, if anything.
async fn price(executor: &Executor, priced: ModelPriced) -> Result<Option<Position>, Failure> {
    let request = Request {
        command_id: new_command_id(),
        caller: Caller::system("import"),
        expected_version: None,
        command: CatalogueCommand::ModelPrice(Box::new(priced)).into(),
    };
    let receipt = executor.execute(request).await?.receipt;
    Ok((!receipt.event_ids.is_empty()).then_some(receipt.position))
}
