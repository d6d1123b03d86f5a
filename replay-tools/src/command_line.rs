//! The command line: which tools there are, and what the process ends with.

use crate::{
    Failure, archive, as_of, diff, erasure_report, events, explain, export, read_model, rebuild,
    totals, verify, witness,
};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use installation::Place;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Replays, verifies and explains the history of an Ops Center installation.
#[derive(Debug, Parser)]
#[command(
    name = "opscenter-replay",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes:
  0  the answer was given, and nothing is wrong
  1  something is wrong with what was looked at
  2  the question cannot be answered: a wrong argument, no database, no such thing

verify tells apart what it found:
   0  whole   10  whole but for bodies purged by a recorded decision (of a bundle)
  20  something was changed   21  not signed by whom it should be
  22  something is missing, or the log ends before what was signed or noted
  30  the figures in a bundle are not what its events give

All tools work beside a running server and without one. None of them writes to the log."
)]
struct CommandLine {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Recompute every hash and the chain, and name the first position that is wrong
    Verify(verify::Options),
    /// What an organization used, was charged, has and owes, as of any moment
    Totals(totals::Options),
    /// From a charge to its usage, prices, arithmetic and payment, all worked out again
    Explain(explain::Options),
    /// What a user, an organization, a purchase or any other thing was at a moment
    AsOf(as_of::Options),
    /// A whole read model as it was at a moment, folded for this question and thrown away
    ReadModel(read_model::Options),
    /// What changed between two moments, of a thing or of a read model, field by field
    Diff(diff::Options),
    /// Derive read models again, compare them byte for byte, and promote what is equal
    Rebuild(rebuild::Options),
    /// History as JSON Lines: filtered, followed, or raw
    Events(events::Options),
    /// Who was erased, what is left of them, and whether the proofs hold
    ErasureReport(erasure_report::Options),
    /// Cosign the checkpoints of logs that only ever grow, as a witness for others
    Witness(witness::Options),
    /// A part of the log as one file that proves itself to whoever has no database
    Export(export::Options),
    /// Seal full partitions and move their bodies into bundles outside the database, or back
    Archive(archive::Options),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(Args, Debug)]
struct Completions {
    /// For which shell
    shell: Shell,
}

/// Reads the command line, runs the tool, prints what went wrong.
#[must_use]
pub async fn run() -> ExitCode {
    let line = CommandLine::parse();
    let mut out = BufWriter::new(std::io::stdout());
    let result = line.carry_out(&mut out).await;
    let result = result.and_then(|()| Ok(out.flush()?));
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    // What was found before it still counts, and comes first.
    let _gone = out.flush();
    let story = failure.story();
    if !story.is_empty() {
        eprintln!("opscenter-replay: {story}");
    }
    failure.exit_code()
}

impl CommandLine {
    async fn carry_out(&self, out: crate::Out<'_>) -> Result<(), Failure> {
        match &self.tool {
            Tool::Verify(options) => verify::run(options, &self.place, out).await,
            Tool::Totals(options) => totals::run(options, &self.place, out).await,
            Tool::Explain(options) => explain::run(options, &self.place, out).await,
            Tool::AsOf(options) => as_of::run(options, &self.place, out).await,
            Tool::ReadModel(options) => read_model::run(options, &self.place, out).await,
            Tool::Diff(options) => diff::run(options, &self.place, out).await,
            Tool::Rebuild(options) => rebuild::run(options, &self.place, out).await,
            Tool::Events(options) => events::run(options, &self.place, out).await,
            Tool::ErasureReport(options) => erasure_report::run(options, &self.place, out).await,
            Tool::Witness(options) => witness::run(options, out).await,
            Tool::Export(options) => export::run(options, &self.place, out).await,
            Tool::Archive(options) => archive::run(options, &self.place, out).await,
            Tool::Completions(Completions { shell }) => {
                let mut script = Vec::new();
                clap_complete::generate(
                    *shell,
                    &mut Self::command(),
                    "opscenter-replay",
                    &mut script,
                );
                Ok(out.write_all(&script)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
