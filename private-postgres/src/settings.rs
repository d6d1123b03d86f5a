//! What the server is told at every start.
//!
//! Durable first: an acknowledged commit survives a power cut. Then sized for the machine it
//! finds itself on, which is small as often as not. Everything is given on the command line, so
//! that nothing written inside the cluster can weaken it.

use std::fs;
use std::path::Path;

use crate::{Error, Options};

const MEGABYTE: u64 = 1024 * 1024;

/// Name and value, in the order they are given; a later one wins.
pub(crate) type Settings = Vec<(String, String)>;

/// Never weakened except by a caller who names them.
const DURABLE: [(&str, &str); 4] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
];

/// Fewer and shorter checkpoints, less log to flush, no planning surprises.
const SIZED: [(&str, &str); 8] = [
    ("max_connections", "200"),
    ("max_wal_size", "2GB"),
    ("min_wal_size", "160MB"),
    ("checkpoint_timeout", "10min"),
    ("wal_compression", "on"),
    ("random_page_cost", "1.1"),
    ("jit", "off"),
    ("timezone", "UTC"),
];

/// A log for operators without what customers wrote: statements and details may quote it.
const QUIET: [(&str, &str); 5] = [
    ("logging_collector", "off"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] "),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
];

/// All settings for one start.
pub(crate) fn settings(
    options: &Options,
    socket_folder: &Path,
    hba_file: &Path,
    port: u16,
) -> Result<Settings, Error> {
    let listen = if options.tcp { "127.0.0.1" } else { "" };
    let places = [
        ("unix_socket_directories", socket_folder.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("hba_file", hba_file.display().to_string()),
        ("listen_addresses", listen.to_owned()),
        ("port", port.to_string()),
        ("shared_buffers", format!("{}MB", shared_buffers_megabytes(memory_total()))),
    ];
    let mut settings: Settings =
        places.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in DURABLE.into_iter().chain(SIZED).chain(QUIET) {
        settings.push((name.to_owned(), value.to_owned()));
    }
    for (name, value) in &options.settings {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Error::Setting { name: name.clone() });
        }
        settings.push((name.clone(), value.clone()));
    }
    Ok(settings)
}

/// Who may connect: whoever can enter the socket's folder, which only the server's account and
/// root can; over TCP only a role that was given a password.
pub(crate) fn host_based_access(tcp: bool) -> String {
    let mut lines = vec![
        "# Written at every start; changes here are lost.",
        "# The socket lies in a folder with mode 0700: to enter it is the proof of identity.",
        "local  all          all              trust",
        "local  replication  opscenter_admin  trust",
    ];
    if tcp {
        lines.push("host   all          all              127.0.0.1/32  scram-sha-256");
    }
    lines.join("\n") + "\n"
}

/// Memory of the machine in bytes, where it can be read.
fn memory_total() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// An eighth of the memory: the programs beside it and the kernel's cache need the rest.
fn shared_buffers_megabytes(memory: Option<u64>) -> u64 {
    memory.map_or(128, |bytes| (bytes / MEGABYTE / 8).clamp(64, 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(options: &Options) -> Settings {
        settings(options, Path::new("/run"), Path::new("/hba"), 5432).expect("good names")
    }

    #[test]
    fn buffers_follow_the_memory_within_bounds() {
        assert_eq!(shared_buffers_megabytes(None), 128);
        assert_eq!(shared_buffers_megabytes(Some(256 * MEGABYTE)), 64);
        assert_eq!(shared_buffers_megabytes(Some(4096 * MEGABYTE)), 512);
        assert_eq!(shared_buffers_megabytes(Some(65_536 * MEGABYTE)), 1024);
    }

    #[test]
    fn nothing_listens_on_the_network_unless_asked() {
        let options = Options::new("data");
        assert!(all(&options).contains(&("listen_addresses".to_owned(), String::new())));
        assert!(!host_based_access(false).contains("host "));
        assert!(host_based_access(true).contains("127.0.0.1/32  scram-sha-256"));
    }

    #[test]
    fn a_callers_setting_comes_last_and_wins() {
        let mut options = Options::new("data");
        options.settings.push(("fsync".to_owned(), "off".to_owned()));
        assert_eq!(all(&options).last(), Some(&("fsync".to_owned(), "off".to_owned())));
    }

    #[test]
    fn a_name_that_is_no_setting_is_refused() {
        let mut options = Options::new("data");
        options.settings.push(("fsync off".to_owned(), String::new()));
        let error = settings(&options, Path::new("/run"), Path::new("/hba"), 5432)
            .expect_err("a space is no part of a name");
        assert!(error.to_string().contains("fsync off"));
    }
}
