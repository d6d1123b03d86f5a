//! `witness`: keeps the last checkpoint of somebody's log, and cosigns the next one only if it
//! follows from that (C2SP `tlog-witness`).
//!
//! It is run by somebody else than the log's operator, or at least on another machine: then nobody
//! alone can put another history in the place of one that was cosigned. It needs no database, and
//! holds no event. Three rules hold:
//!
//! * what was cosigned is on disk before the answer leaves, and never goes back;
//! * of several requests at once for one log, one is looked at after the other;
//! * there is one witness on a folder.

mod answer;
mod doors;
mod kept;
mod key;
mod state;

use crate::Failure;
use crate::output::Out;
use clap::{Args, Subcommand};
use event_log::note::KeyName;
use state::Logs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What is wanted of the witness.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Debug, Subcommand)]
enum Task {
    /// Answer logs that ask for cosignatures, until it is stopped
    #[command(after_help = "\
Example:
  opscenter-replay witness serve --name witness.example.org/a --logs logs.json

The file names the logs that are witnessed, each by its origin and its public keys:
  {\"logs\": [{ \"origin\": \"opscenter/log/…/epoch/1\",
              \"keys\": [\"opscenter/log/…+0123abcd+AbCd…=\"] }]}
It is read at the start.")]
    Serve(Serve),
    /// Print the public key that cosignatures are verified with; makes it where there is none
    Key(Identity),
}

/// Who the witness is.
#[derive(Args, Clone, Debug)]
struct Identity {
    /// Where the witness keeps its key and what it has cosigned
    #[arg(
        long,
        value_name = "DIR",
        env = "OPS_WITNESS_DATA",
        default_value = ".opscenter-witness"
    )]
    folder: PathBuf,
    /// Its name, unique for ever, such as witness.example.org/a; needed the first time
    #[arg(long, value_name = "NAME", env = "OPS_WITNESS_NAME")]
    name: Option<KeyName>,
}

#[derive(Args, Clone, Debug)]
struct Serve {
    #[command(flatten)]
    identity: Identity,
    /// Which logs are witnessed, as JSON
    #[arg(long, value_name = "FILE", env = "OPS_WITNESS_LOGS")]
    logs: PathBuf,
    /// Where requests are taken; on another address than this machine's own, put a proxy in front
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "OPS_WITNESS_LISTEN",
        default_value = "127.0.0.1:7380"
    )]
    listen: SocketAddr,
}

/// Does it.
///
/// # Errors
/// [`Failure::Usage`] when a file cannot be used or the address is taken.
pub(crate) async fn run(options: &Options, out: Out<'_>) -> Result<(), Failure> {
    match &options.task {
        Task::Key(identity) => {
            let cosigner = key::open(&identity.folder, identity.name.as_ref())?;
            Ok(writeln!(out, "{}", cosigner.verifier())?)
        }
        Task::Serve(serve) => serve.run(out).await,
    }
}

impl Serve {
    async fn run(&self, out: Out<'_>) -> Result<(), Failure> {
        let folder = &self.identity.folder;
        let cosigner = key::open(folder, self.identity.name.as_ref())?;
        let logs = Arc::new(Logs::open(folder, &self.logs, cosigner)?);
        let unusable = |error| {
            let listen = self.listen;
            Failure::Usage(format!(
                "nothing can listen on {listen} ({error}); name another address"
            ))
        };
        let listener = TcpListener::bind(self.listen).await.map_err(unusable)?;
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        writeln!(out, "witness {}", logs.verifier())?;
        writeln!(out, "listening on http://{}", listener.local_addr()?)?;
        out.flush()?;
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        doors::serve(listener, answer::router(logs), stop).await;
        Ok(())
    }
}
