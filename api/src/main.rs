//! `opscenter`: the server and what an operator does at the machine. One file per subcommand in
//! `cli/`; nothing is decided here.

use api::cli::demo::Demo;
use api::cli::doctor::Doctor;
use api::cli::import_models::ImportModels;
use api::cli::import_usage::ImportUsage;
use api::cli::key::Key;
use api::cli::log::Log;
use api::cli::serve::{LogFormat, Serve, start_logging};
use api::cli::{End, Stopped, conclude};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use installation::Place;
use std::process::ExitCode;

/// The control plane of a platform that sells AI and SaaS services.
#[derive(Parser)]
#[command(name = "opscenter", version, propagate_version = true)]
struct CommandLine {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Serve),
    Demo(Demo),
    Doctor(Doctor),
    /// Import models or usage from files
    #[command(subcommand)]
    Import(Import),
    /// Make API keys
    #[command(subcommand)]
    Key(Key),
    /// Look at the keys of the log and replace them; go on after a restore
    #[command(subcommand)]
    Log(Log),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Subcommand)]
enum Import {
    Models(ImportModels),
    Usage(ImportUsage),
}

#[tokio::main]
async fn main() -> ExitCode {
    conclude(run(CommandLine::parse()).await)
}

async fn run(line: CommandLine) -> Result<End, Stopped> {
    let CommandLine { place, command } = line;
    if !matches!(command, Command::Serve(_)) {
        // Whoever works at a terminal is told of what went wrong, not of what went on.
        start_logging(LogFormat::Text, "warn");
    }
    match command {
        Command::Serve(serve) => serve.run(&place).await,
        Command::Demo(demo) => demo.run(&place).await,
        Command::Doctor(doctor) => doctor.run(&place).await,
        Command::Key(key) => key.run(&place).await,
        Command::Log(log) => log.run(&place).await,
        Command::Import(Import::Models(import)) => import.run(&place).await,
        Command::Import(Import::Usage(import)) => import.run(&place).await,
        Command::Completions { shell } => {
            let mut definition = CommandLine::command();
            clap_complete::generate(shell, &mut definition, "opscenter", &mut std::io::stdout());
            Ok(End::Done)
        }
    }
}
