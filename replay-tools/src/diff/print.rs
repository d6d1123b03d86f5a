//! Differences as people read them: one line each, in colours where that is a terminal.

use super::{Answer, Cause, Difference};
use crate::Failure;
use crate::moment::printed;
use crate::output::{Out, thousands};
use event_log::{EventLog, Position};
use serde_json::Value;
use std::io::IsTerminal;

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

pub(super) async fn print(log: &EventLog, answer: &Answer, out: Out<'_>) -> Result<(), Failure> {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    writeln!(out, "{}", answer.of)?;
    writeln!(out, "from   {}", moment(log, answer.from).await?)?;
    writeln!(out, "to     {}", moment(log, answer.to).await?)?;
    for remark in &answer.remarks {
        writeln!(out, "       {remark}")?;
    }
    let between = match answer.events {
        None => String::new(),
        Some(0) => "; none of its events lies in between".to_owned(),
        Some(1) => "; one of its events lies in between".to_owned(),
        Some(count) => format!("; {} of its events lie in between", thousands(count)),
    };
    if answer.differences.is_empty() {
        return Ok(writeln!(out, "Nothing is different{between}.")?);
    }
    for difference in &answer.differences {
        writeln!(out, "{}", line(difference, colours))?;
        if let Some(cause) = &difference.cause {
            writeln!(out, "    {}", by(cause))?;
        }
    }
    let count = answer.differences.len();
    let differences = if count == 1 { "difference" } else { "differences" };
    let count = thousands(u64::try_from(count).unwrap_or(u64::MAX));
    Ok(writeln!(out, "{count} {differences}{between}.")?)
}

async fn moment(log: &EventLog, position: Position) -> Result<String, Failure> {
    let at = log.recorded_at(position).await?;
    let at = at.map_or_else(|| "before all".to_owned(), |at| format!("recorded {}", printed(at)));
    Ok(format!("position {position}, {at}"))
}

fn by(cause: &Cause) -> String {
    let Cause { position, recorded_at, type_name, actor } = cause;
    format!("position {position}, {recorded_at}, {type_name} by {actor}")
}

fn line(Difference { path, old, new, .. }: &Difference, colours: bool) -> String {
    let text = |value: &Value| value.to_string();
    let (colour, line) = match (old, new) {
        (Some(old), Some(new)) => (YELLOW, format!("~ {path}: {} → {}", text(old), text(new))),
        (Some(old), None) => (RED, format!("- {path}: {}", text(old))),
        (None, Some(new)) => (GREEN, format!("+ {path}: {}", text(new))),
        (None, None) => (PLAIN, format!("  {path}")),
    };
    if colours { format!("{colour}{line}{PLAIN}") } else { line }
}
