//! Counterparts of one's own for tests: here Podman, serving Docker's API on a socket; a Redis is
//! in [`redis`].
//!
//! Everything lies in one folder that goes when the [`Podman`] is dropped, so that no test sees
//! the containers of another, nor those of the machine. The image is a file (`./ops setup` makes
//! it, `OPS_IMAGE_TAR` names another); no registry is asked, and containers have no network.
//!
//! Works as root without more. Without root, Podman needs `newuidmap` and lines for the account in
//! `/etc/subuid` and `/etc/subgid`, as its own documentation says. Where it cannot run, tests say
//! so and end; with `OPS_REQUIRE_ALL=1`, as in CI, that is a failure.

pub mod redis;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Limits and runtime that suit a machine inside a machine; the same file that `./ops test` uses.
const SETTINGS: &str = include_str!("../../scripts/containers.conf");
const IMAGE: &str = "localhost/ops-test:1";

/// A service that runs until it is told to stop, and no longer than a quarter of an hour, so that
/// a test that was killed leaves nothing behind for ever.
pub const SERVES: &[&str] = &[
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM; i=0; while [ $i -lt 900 ]; do i=$((i+1)); sleep 1 & wait $!; done",
];

/// Hands on a counterpart that runs. `None` where it cannot and nobody requires that it does; that
/// is said aloud and written to the file that `OPS_SKIPPED` names.
fn unless_required<T>(what: &str, started: Result<T, Problem>) -> Result<Option<T>, Problem> {
    let problem = match started {
        Ok(counterpart) => return Ok(Some(counterpart)),
        Err(problem) => problem,
    };
    if std::env::var("OPS_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        return Err(problem);
    }
    let line = format!("NOT TESTED, {what} cannot run: {problem}");
    eprintln!("{line}");
    if let Some(file) = std::env::var_os("OPS_SKIPPED") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
        // One write, because other tests append to the same file.
        file.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes())?;
    }
    Ok(None)
}

/// What went wrong with a counterpart of a test.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// An engine with containers of its own. Dropped, it takes all of them with it.
#[derive(Debug)]
pub struct Podman {
    folder: PathBuf,
    service: Option<Child>,
}

impl Podman {
    /// Starts one. `None` where Podman cannot run and nobody requires that it does; that is said
    /// aloud and written to the file that `OPS_SKIPPED` names.
    ///
    /// # Errors
    ///
    /// When it cannot run and `OPS_REQUIRE_ALL` is 1.
    pub async fn start() -> Result<Option<Self>, Problem> {
        unless_required("Podman", Self::try_start().await)
    }

    async fn try_start() -> Result<Self, Problem> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let image = image_file()?;
        // A short path: sockets below it have at most 107 bytes.
        let folder = PathBuf::from(format!("/tmp/ops-podman-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let mut podman = Self { folder, service: None };
        fs::write(podman.folder.join("containers.conf"), SETTINGS)?;
        podman.command(["import".as_ref(), image.as_os_str(), IMAGE.as_ref()])?;
        podman.serve().await?;
        Ok(podman)
    }

    /// Where it serves, as `DOCKER_HOST` would say it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The socket it serves on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("engine.sock")
    }

    /// Makes a container, which does not run yet; says its id.
    ///
    /// # Errors
    ///
    /// When Podman refuses; its words are in the message.
    pub fn create(&self, name: &str, command: &[&str]) -> Result<String, Problem> {
        let create = ["create", "--name", name, "--network", "none", IMAGE];
        let id = self.command(create.iter().chain(command))?;
        Ok(id.trim().to_owned())
    }

    /// Runs Podman's own command line on the same containers, beside the API; says what it said.
    ///
    /// # Errors
    ///
    /// When Podman refuses; its words are in the message.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, Problem> {
        let mut command = self.podman();
        let output = command.args(arguments).stdin(Stdio::null()).output().map_err(|error| {
            Problem(format!("podman cannot be run ({error}); install podman and runc"))
        })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Problem(format!("{command:?}: {}", said.trim())))
        }
    }

    /// Begins to serve, also again after [`stop_serving`](Self::stop_serving).
    ///
    /// # Errors
    ///
    /// When it does not answer within a while.
    pub async fn serve(&mut self) -> Result<(), Problem> {
        let log = self.folder.join("service.log");
        let mut command = self.podman();
        // Ends by itself when nobody has asked anything for long: the test was killed.
        command.args(["system", "service", "--time", "300", &self.host()]);
        command.stdin(Stdio::null()).stdout(fs::File::create(&log)?);
        command.stderr(fs::File::options().append(true).open(&log)?);
        let mut service = command.spawn()?;
        let give_up = Instant::now() + Duration::from_secs(30);
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            let ended = service.try_wait()?.is_some();
            if ended || Instant::now() > give_up {
                service.kill()?;
                service.wait()?;
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(Problem(format!("the service did not begin to serve: {said}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.service = Some(service);
        Ok(())
    }

    /// The engine goes away at once; its containers go on.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn stop_serving(&mut self) -> Result<(), Problem> {
        if let Some(mut service) = self.service.take() {
            service.kill()?;
            service.wait()?;
        }
        Ok(())
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .arg("--root")
            .arg(self.folder.join("root"))
            .arg("--runroot")
            .arg(self.folder.join("run"))
            .arg("--tmpdir")
            .arg(self.folder.join("tmp"))
            // Needs nothing of the kernel, unlike overlays inside overlays.
            .args(["--storage-driver", "vfs"]);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let emptied = self
            .stop_serving()
            .and_then(|()| self.command(["rm", "--all", "--force", "--time", "0"]).map(drop));
        if let Err(problem) = emptied {
            eprintln!("containers of a test may be left behind: {problem}");
        }
        wait_for_processes(&self.folder);
        let gone = fs::remove_dir_all(&self.folder);
        if let Err(problem) = gone {
            eprintln!("{} is left behind: {problem}", self.folder.display());
        }
    }
}

/// Every container that ends has Podman clean up after it, in a process of its own that would
/// write into a folder while it is removed. Waits until none is about, as far as can be seen.
#[expect(clippy::disallowed_methods, reason = "called where nothing can be awaited, in a drop")]
fn wait_for_processes(folder: &Path) {
    let folder = folder.as_os_str().as_encoded_bytes();
    let works_there = |process: fs::DirEntry| {
        let command_line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        command_line.windows(folder.len()).any(|part| part == folder)
    };
    let give_up = Instant::now() + Duration::from_secs(20);
    while Instant::now() < give_up
        && fs::read_dir("/proc").is_ok_and(|all| all.flatten().any(works_there))
    {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn image_file() -> Result<PathBuf, Problem> {
    let named = std::env::var_os("OPS_IMAGE_TAR").map(PathBuf::from);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/busybox.tar");
    let file = named.unwrap_or(usual);
    if file.is_file() {
        Ok(file)
    } else {
        Err(Problem(format!("there is no image at {}; run ./ops setup", file.display())))
    }
}
