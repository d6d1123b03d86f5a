//! Why a tool ends without its answer, and with which exit code.

use domain::DecodeError;
use event_log::archive::ArchiveError;
use event_log::tree::read::TreeError;
use event_log::{Position, ReadError};
use std::io;
use std::process::ExitCode;

/// Why a tool ends without its answer, or with a bad one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something is wrong with history, or with what was derived from it.
    #[error("{0}")]
    Problem(String),
    /// What a log or a bundle is worth, where it is not whole in every part.
    #[error("{what}")]
    Verdict {
        /// What the process ends with.
        code: u8,
        /// What is wrong, and where.
        what: String,
    },
    /// The tree or the proofs cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What was asked cannot be answered: it names the value and what would do.
    #[error("{0}")]
    Usage(String),
    /// The installation cannot be opened.
    #[error(transparent)]
    Installation(#[from] installation::Error),
    /// The log cannot be read, or has a hole.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database went away.
    #[error("the database stopped answering; try again")]
    Database(#[from] sqlx::Error),
    /// An event that this program cannot read.
    #[error("the event at position {position} cannot be read by this program")]
    Event {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read; check the path and its rights")]
    File {
        /// Which.
        path: String,
        /// What happened.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written; check the path, its rights and the room on the disk")]
    Unwritten {
        /// Which.
        path: String,
        /// What happened.
        source: io::Error,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written; check where the output goes")]
    Output(#[from] io::Error),
    /// The answer cannot be put into JSON.
    #[error("the answer cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A read model cannot be built.
    #[error("{what}")]
    Rebuild {
        /// Of which, and why.
        what: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Failure {
    /// What the process ends with: 0 for an answer nobody waited for, 1 for a problem found, 2 for
    /// what could not be done; the verdict on a log or a bundle has codes of its own.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Problem(_) | Self::Read(ReadError::Gap { .. }) | Self::Event { .. } => {
                ExitCode::from(1)
            }
            Self::Tree(TreeError::Damaged)
            | Self::Read(ReadError::Archive(ArchiveError::Damaged { .. })) => ExitCode::from(1),
            Self::Verdict { code, .. } => ExitCode::from(*code),
            Self::Tree(_)
            | Self::Usage(_)
            | Self::Installation(_)
            | Self::Read(ReadError::Unavailable(_) | ReadError::Archive(_))
            | Self::Database(_)
            | Self::File { .. }
            | Self::Unwritten { .. }
            | Self::Output(_)
            | Self::Json(_)
            | Self::Rebuild { .. } => ExitCode::from(2),
        }
    }

    /// The message with every cause, each once; empty when there is nobody to tell.
    #[must_use]
    pub(crate) fn story(&self) -> String {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return String::new();
        }
        let mut story = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !story.ends_with(&text) {
                story.push_str(": ");
                story.push_str(&text);
            }
            cause = error.source();
        }
        story
    }
}
