//! What became of an import: counted while it goes, printed when it is over.

use super::check::BadCell;
use crate::cli::end::{End, Stopped, print};
use crate::cli::progress::grouped;
use commands::{UsageAnswer, UsageVerdict};
use domain::values::MicroDollars;
use serde::Serialize;

/// The most refused rows that are told one by one; the rest is counted.
const REFUSALS_TOLD: usize = 1_000;
/// The most of these that are printed for people.
const REFUSALS_PRINTED: usize = 20;

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// The line it begins in.
    pub line: u64,
    /// The column that stands in the way, when it is one.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageImported {
    /// Whether nothing was to be recorded.
    pub dry_run: bool,
    /// Whose usage it is.
    pub organization: String,
    /// Under which source the records are known.
    pub source: String,
    /// Rows of the file.
    pub read: u64,
    /// Rows that are new in the log.
    pub recorded: u64,
    /// Rows that were in the log before.
    pub repeated: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Position of the first new record.
    pub first_position: Option<i64>,
    /// Position of the last new record.
    pub last_position: Option<i64>,
    /// What the accepted rows cost in dollars, at today's prices and tier.
    pub price_usd: String,
    /// Whether everything that was recorded is charged.
    pub charged: bool,
    /// The refused rows, the first of them.
    pub refusals: Vec<RefusedRow>,
    /// What may be wrong although nothing was refused.
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub(super) price: MicroDollars,
}

impl UsageImported {
    pub(super) fn refuse(&mut self, line: u64, bad: BadCell) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_TOLD {
            let BadCell { column, reason } = bad;
            self.refusals.push(RefusedRow { line, column, reason });
        }
    }

    /// Takes over what a first look at the file found.
    pub(super) fn adopt(&mut self, seen: Self) {
        let Self { read, refused, refusals, price, .. } = seen;
        (self.read, self.refused, self.refusals, self.price) = (read, refused, refusals, price);
    }

    /// Begins to count again, after a first look.
    pub(super) fn forget_look(&mut self) {
        self.adopt(Self::default());
    }

    /// Takes in what the log said of rows; `true` when it contradicts none of them.
    pub(super) fn take_in(&mut self, lines: &[u64], answer: &UsageAnswer) -> bool {
        let refused = self.refused;
        for (line, verdict) in lines.iter().zip(&answer.verdicts) {
            match verdict {
                UsageVerdict::Recorded(position) => {
                    self.recorded += 1;
                    let first = self.first_position.map_or(position.0, |at| at.min(position.0));
                    let last = self.last_position.map_or(position.0, |at| at.max(position.0));
                    (self.first_position, self.last_position) = (Some(first), Some(last));
                }
                UsageVerdict::Repeated(_) => self.repeated += 1,
                UsageVerdict::Different(position) => {
                    let reason = format!(
                        "it was recorded before, at position {position}, with another time, model, \
                         power level or quantity"
                    );
                    self.refuse(*line, BadCell { column: None, reason });
                }
            }
        }
        self.refused == refused
    }

    /// How the import ended.
    pub(super) fn end(&self, stops: bool) -> End {
        match (self.refused, stops) {
            (0, _) => End::Done,
            (_, false) => End::Partly,
            (_, true) => End::Refused,
        }
    }

    pub(super) fn print(
        &self,
        json: bool,
        (input, payer): (&str, &str),
        stopped: bool,
    ) -> Result<(), Stopped> {
        if json {
            return print(&format!("{}\n", serde_json::to_string_pretty(self)?));
        }
        let mut lines = vec![format!("{} rows read from {input}", grouped(self.read))];
        lines.extend(self.refusals.iter().take(REFUSALS_PRINTED).map(told));
        let more = self.refused.saturating_sub(u64::try_from(REFUSALS_PRINTED).unwrap_or(0));
        if more > 0 {
            lines.push(format!("  and {} more rows refused; --json tells more", grouped(more)));
        }
        if self.dry_run {
            lines.push(format!("  {} can be recorded", grouped(self.read - self.refused)));
        } else {
            lines.push(format!("  {} recorded{}", grouped(self.recorded), self.positions()));
            lines.push(format!("  {} recorded before", grouped(self.repeated)));
        }
        lines.push(format!("  {} refused", grouped(self.refused)));
        lines.push(self.price_line(payer));
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.extend(self.next_step(stopped).map(str::to_owned));
        print(&format!("{}\n", lines.join("\n")))
    }

    fn positions(&self) -> String {
        match (self.first_position, self.last_position) {
            (Some(first), Some(last)) => format!(", at positions {first} to {last}"),
            (None, _) | (_, None) => String::new(),
        }
    }

    fn price_line(&self, whose: &str) -> String {
        let usd = &self.price_usd;
        match (self.dry_run, self.charged) {
            (true, _) => format!("  they would cost {whose} {usd} USD at today's prices"),
            (false, true) => format!("  {usd} USD at today's prices, charged to {whose}"),
            (false, false) => format!("  {usd} USD at today's prices, to be charged to {whose}"),
        }
    }

    fn next_step(&self, stopped: bool) -> Option<&'static str> {
        if self.dry_run {
            return Some("nothing was recorded: this was a dry run");
        }
        match (stopped, self.recorded) {
            (true, 0) => Some(
                "nothing was recorded; correct the rows and import again, or record the others \
                 with --on-error skip",
            ),
            (true, _) => Some(
                "stopped at the first refused row; correct it and import again, which records \
                 nothing twice",
            ),
            (false, _) => None,
        }
    }
}

fn told(row: &RefusedRow) -> String {
    let column = row.column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default();
    format!("  line {}{column}: {}", row.line, row.reason)
}
