//! The folder on disk: its layout, making it once, and what an earlier server left behind.
//!
//! ```text
//! <data>/postgres        the cluster (mode 0700, owned by the server's account)
//! <data>/postgres.new    a cluster being made; renamed when complete, removed if found
//! <data>/postgres.lock   held by the owner (see `lock`)
//! <data>/postgres.log    what the server printed; .log.1 is the one before
//! <data>/run             the socket, unless the path is too long for one
//! ```
//!
//! Where `<data>` cannot hold the server's own folders they lie elsewhere, see `home`.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::process::{is_server_of, server_processes, signal, wait_for};
use crate::settings::host_based_access;
use crate::{DATABASE, Error, Options, SUPERUSER, home};

/// How long an earlier server may take to write its last checkpoint before it is cut short.
const EARLIER_STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long its remains may take after that.
const EARLIER_END_LIMIT: Duration = Duration::from_secs(30);
/// A new cluster takes about 40 MB, and a server that ends in the middle says little of why.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// A log longer than this is set aside at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of the log an error shows.
const TAIL_LINES: usize = 4;

/// Where everything of one data folder is.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) data: PathBuf,
    /// What holds the folders of the server's account: `data`, or a place it can enter.
    pub(crate) home: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) log_file: PathBuf,
}

/// What the server writes about itself into `postmaster.pid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) number: u32,
    pub(crate) port: u16,
    pub(crate) socket_folder: PathBuf,
    pub(crate) is_ready: bool,
}

impl Cluster {
    /// Makes the data folder if need be and names what lies in it. The path is made absolute
    /// and free of links, so that it can be compared with what the system says of processes.
    pub(crate) fn open(data: &Path) -> Result<Self, Error> {
        let root = rustix::process::geteuid().is_root();
        // Root's server runs under another account, which must be able to pass through.
        let mode = if root { 0o711 } else { 0o700 };
        if !data.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(data)
                .map_err(Error::io("making the data folder", data))?;
        }
        let opened = Self::found(data)?;
        let data = &opened.data;
        let found = fs::metadata(data).map_err(Error::io("reading the data folder", data))?;
        if root && found.mode() & 0o011 != 0o011 {
            let permissions = Permissions::from_mode(found.mode() | 0o011);
            fs::set_permissions(data, permissions)
                .map_err(Error::io("letting the server's account pass through", data))?;
        }
        Ok(opened)
    }

    /// As [`open`](Self::open) for a data folder that exists; makes and changes nothing.
    pub(crate) fn found(data: &Path) -> Result<Self, Error> {
        let data = fs::canonicalize(data).map_err(Error::io("following the path", data))?;
        let home = home::found(&data)?;
        let log_file = data.join("postgres.log");
        Ok(Self { folder: home.join("postgres"), log_file, data, home })
    }

    /// Finds a place for a cluster that is still to be made.
    pub(crate) fn settle(&mut self, account: &Account) -> Result<(), Error> {
        self.home = home::settled(&self.data, account)?;
        self.folder = self.home.join("postgres");
        account.reaches(&self.home)
    }

    /// The major version that made this cluster; `None` where there is no cluster yet.
    pub(crate) fn made_by(&self) -> Result<Option<u32>, Error> {
        if !self.folder.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(self.folder.join("PG_VERSION")).unwrap_or_default();
        let version = text.trim().split('.').next().and_then(|major| major.parse().ok());
        let not_a_cluster = Error::NotACluster { folder: self.folder.clone() };
        version.map(Some).ok_or(not_a_cluster)
    }

    /// Makes the cluster beside its place and moves it there when it is complete: whoever is
    /// interrupted leaves nothing that looks finished.
    pub(crate) fn init(
        &self,
        binaries: &Binaries,
        account: &Account,
        options: &Options,
    ) -> Result<(), Error> {
        self.check_room()?;
        let new = self.home.join("postgres.new");
        if new.exists() {
            fs::remove_dir_all(&new)
                .map_err(Error::io("removing a cluster left half made", &new))?;
        }
        private_folder(&new, account)?;
        tracing::info!(folder = %self.folder.display(), version = binaries.major, "new cluster");
        let mut command = account.command(&binaries.initdb(), &new);
        command
            .arg("--pgdata")
            .arg(&new)
            .args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8"])
            // Byte order everywhere: the order of text never changes with the system's libraries.
            .args(["--locale", "C", "--data-checksums", "--no-instructions"]);
        if options.asks_for("fsync", "off") {
            command.arg("--no-sync");
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io("starting initdb", binaries.initdb()))?;
        self.check_made(&output)?;
        self.create_database(binaries, account, &new)?;
        fs::rename(&new, &self.folder)
            .map_err(Error::io("moving the new cluster to its place", &self.folder))?;
        File::open(&self.home)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io("flushing the data folder", &self.home))
    }

    /// Creates our database in single-user mode, which needs no client program.
    fn create_database(
        &self,
        binaries: &Binaries,
        account: &Account,
        new: &Path,
    ) -> Result<(), Error> {
        let mut child = account
            .command(&binaries.postgres(), new)
            .args(["--single", "-j", "-D"])
            .arg(new)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("starting postgres --single", binaries.postgres()))?;
        if let Some(mut input) = child.stdin.take() {
            // A server that ends before it has read this says why in its output.
            let _ = writeln!(input, "create database {DATABASE};\n");
        }
        let output = child
            .wait_with_output()
            .map_err(Error::io("creating the database", binaries.postgres()))?;
        self.check_made(&output)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match said.contains("ERROR:") {
            true => Err(Error::Init { folder: self.folder.clone(), log: last_lines(&said) }),
            false => Ok(()),
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        let found = rustix::fs::statvfs(&self.home)
            .map_err(|error| Error::io("measuring the disk", &self.home)(error.into()))?;
        match found.f_bavail.saturating_mul(found.f_frsize) < FREE_BYTES_MIN {
            true => Err(Error::DiskFull { folder: self.home.clone() }),
            false => Ok(()),
        }
    }

    fn check_made(&self, output: &Output) -> Result<(), Error> {
        if output.status.success() {
            return Ok(());
        }
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if log.contains("No space left on device") {
            return Err(Error::DiskFull { folder: self.data.clone() });
        }
        Err(Error::Init { folder: self.folder.clone(), log: last_lines(&log) })
    }

    /// Ends whatever an owner that was killed left running, and removes what it left lying.
    /// Only the holder of the lock may do this.
    ///
    /// The file `postmaster.pid` guards a cluster against two servers, so it is removed only
    /// once the system says that no server process works in the folder any more.
    pub(crate) fn take_over(&self) -> Result<(), Error> {
        let left = self.postmaster();
        if let Some(earlier) = &left
            && is_server_of(earlier.number, &self.folder)
        {
            tracing::warn!(process = earlier.number, "stopping a server whose owner has died");
            self.end(earlier.number)?;
        }
        let Some(_) = server_processes(&self.folder) else {
            return Ok(());
        };
        let none_left = || {
            let processes = server_processes(&self.folder).unwrap_or_default();
            processes.is_empty().then_some(())
        };
        if wait_for(EARLIER_END_LIMIT, none_left).is_none() {
            return Err(self.still_running());
        }
        let pid_file = self.folder.join("postmaster.pid");
        match fs::remove_file(&pid_file) {
            Ok(()) => tracing::info!("removed the pid file of a server that is gone"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("removing a stale pid file", pid_file)(error)),
        }
        Ok(())
    }

    fn end(&self, number: u32) -> Result<(), Error> {
        let gone = || (!is_server_of(number, &self.folder)).then_some(());
        signal(number, Signal::INT);
        if wait_for(EARLIER_STOP_LIMIT, gone).is_some() {
            return Ok(());
        }
        signal(number, Signal::QUIT);
        wait_for(EARLIER_END_LIMIT, gone).ok_or_else(|| self.still_running())
    }

    fn still_running(&self) -> Error {
        let numbers = server_processes(&self.folder).unwrap_or_default();
        let processes = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        Error::StillRunning { folder: self.folder.clone(), processes }
    }

    /// What the running server says of itself; `None` without one.
    pub(crate) fn postmaster(&self) -> Option<Postmaster> {
        let text = fs::read_to_string(self.folder.join("postmaster.pid")).ok()?;
        parse_postmaster(&text)
    }

    /// Writes who may connect, completely or not at all.
    pub(crate) fn write_access(&self, account: &Account, tcp: bool) -> Result<PathBuf, Error> {
        let path = self.folder.join("opscenter_hba.conf");
        let new = self.folder.join("opscenter_hba.conf.new");
        fs::write(&new, host_based_access(tcp))
            .map_err(Error::io("writing the access rules", &new))?;
        account.take(&new)?;
        fs::rename(&new, &path).map_err(Error::io("writing the access rules", &path))?;
        Ok(path)
    }

    /// Opens the log at its end, setting a long one aside, and tells where the end is.
    pub(crate) fn open_log(&self) -> Result<(File, u64), Error> {
        let length = fs::metadata(&self.log_file).map_or(0, |found| found.len());
        if length > LOG_BYTES_MAX {
            fs::rename(&self.log_file, self.data.join("postgres.log.1"))
                .map_err(Error::io("setting the long log aside", &self.log_file))?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log_file)
            .map_err(Error::io("opening the server's log", &self.log_file))?;
        let start = file.metadata().map_or(0, |found| found.len());
        Ok((file, start))
    }

    /// What the server has printed since byte `start` of its log.
    pub(crate) fn log_since(&self, start: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log_file).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("the log cannot be read ({error})"),
        }
    }
}

/// Makes a folder that only `account` (and root) can enter.
pub(crate) fn private_folder(folder: &Path, account: &Account) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(folder).map_err(Error::io("making a folder", folder))?;
    account.take(folder)
}

/// The last lines of a log in one line, as an error shows them.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    match lines.is_empty() {
        true => "it printed nothing".to_owned(),
        false => lines[first..].join(" | "),
    }
}

/// Lines: number, cluster, start time, port, socket folder, address, shared memory, status.
fn parse_postmaster(text: &str) -> Option<Postmaster> {
    let lines: Vec<&str> = text.lines().collect();
    Some(Postmaster {
        number: lines.first()?.trim().parse().ok()?,
        port: lines.get(3).and_then(|port| port.trim().parse().ok()).unwrap_or_default(),
        socket_folder: PathBuf::from(lines.get(4).copied().unwrap_or_default()),
        is_ready: lines.get(7).is_some_and(|status| status.trim() == "ready"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_tells_where_the_server_listens_and_whether_it_is_ready() {
        let ready = "4711\n/d/postgres\n1700000000\n5432\n/d/run\n\n  123 0\nready   \n";
        let found = parse_postmaster(ready).expect("a complete file");
        assert_eq!((found.number, found.port, found.is_ready), (4711, 5432, true));
        assert_eq!(found.socket_folder, PathBuf::from("/d/run"));
        let starting = ready.replace("ready   ", "starting");
        assert!(!parse_postmaster(&starting).expect("a complete file").is_ready);
        assert_eq!(parse_postmaster(""), None);
    }

    #[test]
    fn an_error_shows_the_end_of_the_log() {
        assert_eq!(last_lines("1\n2\n\n3\n4\n5\n"), "2 | 3 | 4 | 5");
        assert_eq!(last_lines("\n"), "it printed nothing");
    }
}
