//! `opscenter demo`: a furnished installation to look at.
//!
//! Everything in it came about by the commands that people and gateways ask; nothing is written
//! past them. Running it again on the same folder changes nothing.

mod furnish;
mod keys;
mod offers;
mod people;
mod prices;
mod summary;
mod traffic;

use super::end::{End, Stopped, print};
use super::serve::Stopping;
use super::session::Session;
use super::watch::watch_over;
use crate::server::{Server, ServerSettings};
use clap::Args;
use event_log::EventLog;
use furnish::Furnisher;
use installation::{Access, Place};
use std::net::SocketAddr;
use std::time::Duration;

/// How long the read models may take to read a day of traffic.
const READ_MODELS: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  opscenter demo
  opscenter demo --exit
  opscenter demo --data /tmp/demo --address 127.0.0.1:9000

Furnishes an empty installation with a catalogue, people, organizations, bought credits and one day
of traffic, shows balances, and serves until it is stopped (Ctrl-C). On a folder that it furnished
before it changes nothing.";

/// Furnish an empty installation with a day of traffic, and serve it
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", env = "OPS_ADDRESS", default_value = "127.0.0.1:8080")]
    pub address: SocketAddr,
    /// End after the summary instead of serving
    #[arg(long)]
    pub exit: bool,
}

impl Demo {
    /// Furnishes, shows, serves until SIGTERM or SIGINT, and says how it ended.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn run(&self, place: &Place) -> Result<End, Stopped> {
        let access = if self.exit { Access::Write } else { Access::Serve };
        eprintln!("furnishing the installation in {}", place.data_dir.display());
        let mut session = Session::open(place, access).await?;
        let shown = self.show(&mut session).await;
        session.close().await;
        shown.map(|()| End::Done)
    }

    async fn show(&self, session: &mut Session) -> Result<(), Stopped> {
        let made = Furnisher::new(session, false).furnish().await?;
        print(&summary::summary(session, &made).await?)?;
        if self.exit {
            return print(&summary::next_steps(session, &made, None)?);
        }
        let executor = session.executor();
        let (log, keys) = (executor.log().clone(), executor.keys().clone());
        let stopping = Stopping::listen()?;
        let mut settings = ServerSettings::new(self.address, log, keys);
        settings.evidence = Some(session.installation().evidence()?);
        // From here on the server signs.
        session.stop_signing().await;
        let server = Server::start(settings).await?;
        if let Err(stale) = read_models_know(&server, session.executor().log()).await {
            eprintln!("note: {stale}; what is asked first may be incomplete");
        }
        print(&summary::next_steps(session, &made, Some(server.address()))?)?;
        print("\nCtrl-C stops the server; everything stays for the next start.\n")?;
        let ended = watch_over(session.installation_mut(), stopping).await;
        server.stop().await;
        ended
    }
}

/// Waits until what is asked of the server first is answered in full.
async fn read_models_know(server: &Server, log: &EventLog) -> Result<(), Stopped> {
    let head = log.head().await?;
    let standings = server.progress().standings().await?;
    let names: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    Ok(server.progress().wait(&names, head, READ_MODELS).await?)
}
