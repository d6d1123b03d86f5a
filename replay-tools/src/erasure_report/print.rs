//! The report for people and for programs.

use super::{Erasure, Report, Step, found};
use crate::Failure;
use crate::output::Out;
use std::io;

/// Prints it.
pub(super) fn report(report: &Report, json: bool, out: Out<'_>) -> Result<(), Failure> {
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(report)?)?);
    }
    if report.erasures.is_empty() {
        writeln!(out, "nobody's erasure was ever asked for")?;
    }
    for erasure in &report.erasures {
        of_one(erasure, out)?;
    }
    for trace in &report.searched {
        writeln!(out, "searched   {} found in {}", trace.found, trace.place)?;
    }
    let proofs = if report.proofs_hold { "hold" } else { "DO NOT HOLD" };
    writeln!(out, "proofs     {proofs} up to position {}", report.head)?;
    if report.ok {
        writeln!(out, "Nothing is left of whoever was erased, and the log is whole.")?;
    }
    Ok(())
}

fn of_one(erasure: &Erasure, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "{}", erasure.user_id)?;
    let filed = erasure.reference.as_deref().unwrap_or("-");
    writeln!(out, "  ground     {} (filed under {filed})", erasure.ground)?;
    step("requested", &erasure.requested, out)?;
    match &erasure.erased {
        Some(done) => step("erased   ", done, out)?,
        None => writeln!(out, "  erased     NOT YET; a running server finishes it")?,
    }
    writeln!(out, "  unreadable {} sealed fields stay in the log", erasure.unreadable)?;
    for trace in &erasure.traces {
        writeln!(out, "  traces     {} in {}", trace.found, trace.place)?;
    }
    Ok(())
}

fn step(name: &str, step: &Step, out: Out<'_>) -> io::Result<()> {
    let command = step.command_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let Step { position, recorded_at, actor, .. } = step;
    writeln!(out, "  {name}  {recorded_at} at {position} by {actor}, command {command}")
}

/// What is wrong, in one line.
pub(super) fn what_is_wrong(report: &Report) -> String {
    let mut wrong = Vec::new();
    for erasure in &report.erasures {
        if erasure.erased.is_none() {
            wrong.push(format!("the erasure of {} is not finished", erasure.user_id));
        }
        for trace in erasure.traces.iter().filter(|trace| trace.found > 0) {
            wrong.push(format!("{} left of {} in {}", trace.found, erasure.user_id, trace.place));
        }
    }
    if found(&report.searched) > 0 {
        wrong.push(format!("{} rows have a text searched for", found(&report.searched)));
    }
    wrong.extend(report.problem.clone());
    wrong.join("; ")
}
