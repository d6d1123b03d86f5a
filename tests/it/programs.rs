//! The programs themselves, as a user starts them: found beside the running test, spoken to over
//! HTTP, and ended in every way there is.
//!
//! Nothing here knows the inside of a server. What a test needs before the server starts is written
//! by [`furnished`]; what it asks afterwards goes through [`door`].

pub(crate) mod door;
pub(crate) mod furnished;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What the first line of a server says before its address.
const LISTENS: &str = "Ops Center listens at http://";

/// Looks until there is something. More patient than the harness: programs start and stop
/// meanwhile.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "in {} s there was not {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Where a program of the workspace is: beside the running test, built with the same profile.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the running test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/…/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there; build the programs first, as `./ops test` does: \
         cargo build --workspace --bins",
        path.display()
    );
    path
}

/// A program with nothing of the tester's own surroundings in it.
pub(crate) fn command(name: &str) -> Command {
    bare(Command::new(program(name)))
}

/// The same for a command of the system.
pub(crate) fn bare(mut command: Command) -> Command {
    for variable in ["DATABASE_URL", "DATABASE_OWNER_URL", "OPS_DATA", "OPS_ADDRESS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
        .env_remove("OPS_MASTER_KEY")
        .env_remove("OPS_LOG_KEYS")
        .env_remove("OPS_WITNESSES")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Output {
    let output = timeout(PATIENCE * 2, command.output()).await;
    output.unwrap_or_else(|_| panic!("{command:?} does not end")).expect("it can be started")
}

/// Runs a program that has to succeed; says what it printed.
pub(crate) async fn printed(command: &mut Command) -> String {
    let output = run(command).await;
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
    out
}

/// What was printed, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A data folder that goes with its test, and any server on it too.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        // A short path: sockets below it have at most 107 bytes.
        let name = uuid::Uuid::now_v7().simple().to_string();
        let path = std::env::temp_dir().join(format!("ops-{}", &name[20..]));
        std::fs::create_dir(&path).expect("a folder can be made");
        Self(path)
    }

    /// The process number of the database's main process, while there is one.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.0.join("postgres/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Stops the database at once, as a crash of it would: nothing is written out.
    pub(crate) fn stop_postgres_immediately(&self) {
        signal(self.postmaster().expect("a database runs here"), "QUIT");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(number) = self.postmaster() {
            signal(number, "QUIT");
            wait_for_end_of(number);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// Sends a signal; whoever has ended by now does not mind.
pub(crate) fn signal(process: u32, name: &str) {
    let mut kill = std::process::Command::new("kill");
    let sent = kill.args(["-s", name, &process.to_string()]).stderr(Stdio::null()).status();
    sent.expect("every system has kill");
}

#[expect(clippy::disallowed_methods, reason = "called where nothing can be awaited, in a drop")]
fn wait_for_end_of(process: u32) {
    let give_up = std::time::Instant::now() + Duration::from_secs(20);
    let folder = PathBuf::from(format!("/proc/{process}"));
    while folder.exists() && std::time::Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Why a server did not start.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

/// A running `opscenter serve`. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    errors: PathBuf,
}

/// The usual way to serve a data folder; tests that need a container engine say otherwise.
pub(crate) fn serve(folder: &Path, address: &str) -> Command {
    let mut command = command("opscenter");
    command.args(["serve", "--no-actions", "--address", address, "--data"]).arg(folder);
    command
}

impl Server {
    /// Starts a server that has to start.
    pub(crate) async fn start(command: Command) -> Self {
        Self::try_start(command).await.unwrap_or_else(|ended| {
            panic!("the server does not start: {}\n{}", ended.status, ended.said)
        })
    }

    /// Starts a server and waits until it listens, or has ended.
    pub(crate) async fn try_start(mut command: Command) -> Result<Self, Ended> {
        let name = format!("ops-serve-{}.log", uuid::Uuid::now_v7().simple());
        let errors = std::env::temp_dir().join(name);
        let file = std::fs::File::create(&errors).expect("a file can be made");
        command.stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("it can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let address = timeout(PATIENCE, first_address(&mut lines)).await;
        let Ok(address) = address else { panic!("no word within a minute:\n{}", said(&errors)) };
        let Some(address) = address else {
            let status = child.wait().await.expect("it was started here");
            let ended = Ended { status, said: said(&errors) };
            drop(std::fs::remove_file(errors));
            return Err(ended);
        };
        tokio::spawn(read_on(lines));
        Ok(Self { child, address, errors })
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it was started here");
    }

    /// Asks it to stop, as an operator or a supervisor does.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let number = self.child.id().expect("nobody has waited for it");
        signal(number, "TERM");
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = ended else { panic!("it does not stop:\n{}", self.said()) };
        status.expect("it was started here")
    }

    /// Its status when it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it was started here")
    }

    /// Everything that it wrote to its log.
    pub(crate) fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.errors).expect("it has a log")
    }

    /// The end of what it wrote to its log.
    pub(crate) fn said(&self) -> String {
        said(&self.errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server at {} said:\n{}", self.address, self.said());
        }
        drop(std::fs::remove_file(&self.errors));
    }
}

/// The end of what a server wrote to its log.
fn said(file: &Path) -> String {
    let said = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

async fn first_address(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<SocketAddr> {
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some(address) = line.trim().strip_prefix(LISTENS) {
            return Some(address.parse().expect("an address"));
        }
    }
    None
}

/// Reads on, so that the server never waits for a reader.
async fn read_on(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}
