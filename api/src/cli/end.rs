//! How a command line ends: its exit status, and what it says when it could not go on.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// What kept a command from being done, whatever it was. Its message and those of its sources are
/// for the person at the terminal.
pub type Stopped = Box<dyn Error + Send + Sync>;

/// How a command ended that was not stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was done.
    Done,
    /// It was done, except for parts of the input that were refused and reported.
    Partly,
    /// The input was refused as a whole and reported; nothing was recorded.
    Refused,
    /// What was asked for was looked at, and something that is needed is not in order.
    Missing,
}

impl End {
    /// The exit status: 0 done, 1 not done or not in order, 3 done except for what was refused. (2
    /// is a command line that cannot be read.)
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Refused | Self::Missing => ExitCode::from(1),
            Self::Partly => ExitCode::from(3),
        }
    }
}

/// Ends the program: prints what stopped it, with every cause, and gives the exit status.
#[must_use]
pub fn conclude(result: Result<End, Stopped>) -> ExitCode {
    let error = match result {
        Ok(end) => return end.exit_code(),
        Err(error) => error,
    };
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::from(1)
}

/// Prints to standard output. Whoever reads it may stop reading, as `head` does; that is no fault.
pub(crate) fn print(text: &str) -> Result<(), Stopped> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
