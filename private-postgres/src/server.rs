//! A running server that this process started: spawning it, waiting until it is ready, ending it.
//!
//! **If this process is killed** (`kill -9`), nothing of its own code runs any more. So a tiny
//! shell waits beside the server, reading from a pipe whose other end only this process holds.
//! When the pipe closes without a word, the shell asks the server for a fast shutdown; a clean
//! stop writes a word first. (The kernel's parent-death signal would not do: it fires when the
//! *thread* that started the server ends, which in an async program is any time.) If the shell is
//! killed too, the next start finds the server and stops it, see `Cluster::take_over`.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::cluster::{Cluster, last_lines};
use crate::process::{signal, wait_for};
use crate::settings::settings;
use crate::{Error, Mode, Options, socket};

/// Replaying the log after a crash may take this long.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// How long a fast stop may take before it becomes an immediate one.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a start is tried again while a port is taken or remains of a server go away.
const ATTEMPTS_MAX: u32 = 5;
/// The socket's name carries a port even where nothing listens on one.
const SOCKET_PORT: u16 = 5432;

/// Ends at the word of its owner, or asks the server to end when the owner is gone. The pid file
/// is compared first: the number may belong to another process by then.
const WATCH: &str = r#"read -r word && exit 0
[ "$(head -n 1 "$2/postmaster.pid" 2>/dev/null)" = "$1" ] && kill -INT "$1""#;

/// The processes of one running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) postmaster: Child,
    watch: Child,
    pub(crate) socket_folder: PathBuf,
    pub(crate) port: u16,
}

/// Why one attempt did not give a server.
enum Attempt {
    /// Worth another try: the port was taken in between, or shared memory is still in use.
    Again(Error),
    Failed(Error),
}

impl Server {
    /// Starts the server of `cluster` and waits until it answers.
    pub(crate) fn start(
        cluster: &Cluster,
        binaries: &Binaries,
        account: &Account,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::try_start(cluster, binaries, account, options) {
                Ok(server) => return Ok(server),
                Err(Attempt::Again(error)) if attempt < ATTEMPTS_MAX => {
                    tracing::warn!(attempt, %error, "starting the server again");
                    attempt += 1;
                }
                Err(Attempt::Again(error) | Attempt::Failed(error)) => return Err(error),
            }
        }
    }

    fn try_start(
        cluster: &Cluster,
        binaries: &Binaries,
        account: &Account,
        options: &Options,
    ) -> Result<Self, Attempt> {
        let port = if options.tcp { free_port()? } else { SOCKET_PORT };
        let socket_folder = socket::folder(cluster, account)?;
        let hba_file = cluster.write_access(account, options.tcp)?;
        let mut command = account.command(&binaries.postgres(), &cluster.folder);
        command.arg("-D").arg(&cluster.folder);
        for (name, value) in settings(options, &socket_folder, &hba_file, port)? {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let (log, log_start) = cluster.open_log()?;
        let log_too =
            log.try_clone().map_err(Error::io("opening the server's log", &cluster.log_file))?;
        let postmaster = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            // A group of its own: Ctrl-C in a terminal is for us, who then stop it in order.
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting the server", binaries.postgres()))?;
        let watch = watch(cluster, account, &postmaster)?;
        let mut server = Self { postmaster, watch, socket_folder, port };
        server.wait_until_ready(cluster, log_start)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, cluster: &Cluster, log_start: u64) -> Result<(), Attempt> {
        let number = self.postmaster.id();
        let outcome = wait_for(READY_LIMIT, || match self.postmaster.try_wait() {
            Ok(None) => {
                let said = cluster.postmaster();
                said.is_some_and(|said| said.number == number && said.is_ready).then_some(true)
            }
            Ok(Some(_)) | Err(_) => Some(false),
        });
        match outcome {
            Some(true) => Ok(()),
            Some(false) => {
                self.release_watch();
                Err(self.why_it_ended(cluster, log_start))
            }
            None => {
                self.end(Mode::Immediate);
                Err(Attempt::Failed(Error::NotReady {
                    folder: cluster.folder.clone(),
                    seconds: READY_LIMIT.as_secs(),
                    log: last_lines(&cluster.log_since(log_start)),
                }))
            }
        }
    }

    fn why_it_ended(&self, cluster: &Cluster, log_start: u64) -> Attempt {
        let log = cluster.log_since(log_start);
        if log.contains("No space left on device") {
            return Attempt::Failed(Error::DiskFull { folder: cluster.data.clone() });
        }
        if log.contains("could not bind") {
            return Attempt::Again(Error::PortBusy { port: self.port });
        }
        let error = Error::Start {
            folder: cluster.folder.clone(),
            log: last_lines(&log),
            log_file: cluster.log_file.clone(),
        };
        match log.contains("is still in use") {
            true => Attempt::Again(error),
            false => Attempt::Failed(error),
        }
    }

    /// Whether the postmaster still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.postmaster.try_wait(), Ok(None))
    }

    /// Ends the server and collects it. A fast stop that takes too long becomes an immediate
    /// one: nothing is lost by that, the next start replays the log.
    pub(crate) fn end(&mut self, mode: Mode) {
        let number = self.postmaster.id();
        if self.is_running() {
            match mode {
                Mode::Fast => signal(number, Signal::INT),
                Mode::Immediate => signal(number, Signal::QUIT),
            }
            let ended = wait_for(STOP_LIMIT, || (!self.is_running()).then_some(()));
            if ended.is_none() {
                tracing::warn!(process = number, "the server takes too long to stop; cut short");
                signal(number, Signal::QUIT);
                let ended = wait_for(STOP_LIMIT, || (!self.is_running()).then_some(()));
                if ended.is_none() {
                    signal(number, Signal::KILL);
                }
            }
        }
        // Already collected, or about to be: nothing can be done about a failure here.
        let _ = self.postmaster.wait();
        self.release_watch();
    }

    /// Kills the postmaster as a power cut would, giving it no chance to do anything.
    pub(crate) fn kill(&mut self) {
        // Fails only when it has ended by itself.
        let _ = self.postmaster.kill();
        let _ = self.postmaster.wait();
        self.release_watch();
    }

    /// Tells the watching shell that all is in order and collects it.
    fn release_watch(&mut self) {
        if let Some(mut pipe) = self.watch.stdin.take() {
            // It may have been killed by somebody; then there is nobody to tell.
            let _ = writeln!(pipe, "done");
        }
        let _ = self.watch.wait();
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn watch(cluster: &Cluster, account: &Account, postmaster: &Child) -> Result<Child, Error> {
    account
        .command(Path::new("/bin/sh"), &cluster.folder)
        .args(["-c", WATCH, "opscenter-watch", &postmaster.id().to_string()])
        .arg(&cluster.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Error::io("starting the watch beside the server", "/bin/sh"))
}

/// A port that is free at this moment. Somebody may be faster, so the caller tries again.
fn free_port() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("looking for a free port", "127.0.0.1"))
}
