//! Which witnesses are asked, as an option of those commands that ask them.

use clap::Args;
use event_log::witness::{PolicyError, WitnessPolicy};
use std::path::{Path, PathBuf};

/// Which witnesses are asked.
#[derive(Args, Clone, Debug, Default)]
pub struct Witnesses {
    /// A file that says which witnesses cosign the log's checkpoints, and how many of them have to
    #[arg(long = "witnesses", value_name = "FILE", env = "OPS_WITNESSES")]
    file: Option<PathBuf>,
}

impl Witnesses {
    /// The file; a path that is empty, as scripts leave it behind, is none.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| !file.as_os_str().is_empty())
    }

    /// What the file says; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn policy(&self) -> Result<Option<WitnessPolicy>, PolicyError> {
        self.file().map(WitnessPolicy::load).transpose()
    }
}
