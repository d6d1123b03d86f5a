//! `opscenter serve`: the server, until it is told to stop.

use super::watch::watch_over;
use super::witnesses::Witnesses;
use super::{End, Stopped};
use crate::server::{Server, ServerSettings};
use clap::{Args, ValueEnum};
use installation::{Access, Installation, Place};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For reading
    #[default]
    Text,
}

/// Run the server
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  opscenter serve
  opscenter serve --data /var/lib/opscenter --address 0.0.0.0:8080 --log-format json
  DATABASE_URL=postgres://opscenter@db/opscenter opscenter serve

The first start prints a link that makes the first administrator; it works once, within a day.
SIGTERM and SIGINT stop the server: requests under way are answered first.")]
pub struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", env = "OPS_ADDRESS", default_value = "127.0.0.1:8080")]
    pub address: SocketAddr,
    /// How log lines look
    #[arg(long, value_enum, env = "OPS_LOG_FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Let everybody ask about the GraphQL schema, as one does while developing
    #[arg(long)]
    pub open_schema: bool,
    /// Carry out no service actions here
    #[arg(long)]
    pub no_actions: bool,
    /// Which witnesses are asked
    #[command(flatten)]
    pub witnesses: Witnesses,
}

/// How many connections to the database requests, read models and flows share.
const CONNECTIONS: u32 = 32;

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// What stood in the way, with what to do next.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        start_logging(self.log_format, "info,sqlx=warn");
        let opened = Installation::open_with(place, Access::Serve, |settings| {
            settings.read_connections = CONNECTIONS;
        });
        let mut installation = opened.await?;
        let result = self.serve(&mut installation).await;
        installation.close().await;
        result
    }

    async fn serve(&self, installation: &mut Installation) -> Result<End, Stopped> {
        let (log, keys) = (installation.log().clone(), installation.keys()?.clone());
        let mut settings = ServerSettings::new(self.address, log, keys);
        settings.open_schema = self.open_schema;
        settings.carries_out_actions = !self.no_actions;
        settings.evidence = Some(installation.evidence()?);
        settings.witnesses = self.witnesses.policy()?;
        // Before anything is announced: whoever was told that we run may stop us.
        let stopping = Stopping::listen()?;
        let server = Server::start(settings).await?;
        announce(&server)?;
        let ended = watch_over(installation, stopping).await;
        server.stop().await;
        ended.map(|()| End::Done)
    }
}

/// Says where the server is, and prints the set-up link, which no log has.
///
/// # Errors
/// When standard output cannot be written.
pub fn announce(server: &Server) -> Result<(), Stopped> {
    super::end::print(&format!("Ops Center listens at http://{}\n", server.address()))?;
    if let Some(link) = server.setup_link() {
        super::end::print(&format!(
            "Nobody administers it yet. Open this link within 24 hours; it works once:\n  {link}\n"
        ))?;
    }
    Ok(())
}

/// The signals that ask for a stop.
pub struct Stopping {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stopping {
    /// Starts listening for them.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> Result<Self, Stopped> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when one comes, with its name.
    pub async fn wait(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Log lines go to standard error: those that `RUST_LOG` chooses, or `least` where it does not.
/// Does nothing the second time.
pub fn start_logging(format: LogFormat, least: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(least));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).try_init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    // Whoever runs several parts in one process starts it once.
    drop(started);
}
