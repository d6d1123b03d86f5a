//! Why a server does not start.

use std::io;
use std::net::SocketAddr;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error(
        "port {} at {} is in use; stop what listens there, or choose another with \
         --address {}:{}",
        .address.port(), .address.ip(), .address.ip(), .free
    )]
    PortInUse {
        /// Where.
        address: SocketAddr,
        /// The next port, as a proposal.
        free: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let us listen there.
    #[error("cannot listen at {address}; choose an address of this machine, and a port above 1023")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The read models cannot be started.
    #[error("the read models cannot be made; check that the database answers")]
    ReadModels(#[source] sqlx::Error),
    /// The log cannot be read.
    #[error("the log cannot be read; check that the database answers")]
    Log(#[source] event_log::ReadError),
    /// The history of the installation itself cannot be read.
    #[error("the history of the installation cannot be read; use a newer version of this program")]
    History(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A witness cannot be asked.
    #[error("the witnesses cannot be asked; correct the file that OPS_WITNESSES names")]
    Witnesses(#[source] event_log::witness::WitnessError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for the set-up link")]
    Random(#[source] getrandom::Error),
    /// The set-up link cannot be recorded.
    #[error("the set-up link cannot be recorded")]
    SetupLink(#[source] commands::Failure),
}

impl StartError {
    pub(super) fn of_bind(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            let free = address.port().checked_add(1).unwrap_or(8_080);
            return Self::PortInUse { address, free, source };
        }
        Self::Bind { address, source }
    }
}
