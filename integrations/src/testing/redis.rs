//! A Redis of one's own for tests: a real server on a port of 127.0.0.1, with nothing on disk, that
//! ends with its test.

use super::{Problem, unless_required};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// How often another port is tried: a free one may be taken by the time the server asks for it.
const ATTEMPTS: u32 = 5;
/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Redis {
    server: Child,
    port: u16,
}

impl Redis {
    /// Starts one that lets in whoever knows the password. `None` where it cannot run and nobody
    /// requires that it does, as for [`Podman`](super::Podman).
    ///
    /// # Errors
    ///
    /// When it cannot run and `OPS_REQUIRE_ALL` is 1.
    pub async fn start(password: &str) -> Result<Option<Self>, Problem> {
        unless_required("Redis", Self::try_start(password).await)
    }

    async fn try_start(password: &str) -> Result<Self, Problem> {
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--port", &port.to_string(), "--requirepass", password]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let server = command.spawn().map_err(|error| {
                Problem(format!("redis-server cannot be run ({error}); run ./ops setup"))
            })?;
            let mut redis = Self { server, port };
            if redis.listens().await? {
                return Ok(redis);
            }
        }
        Err(Problem(format!("redis-server did not begin to listen on any of {ATTEMPTS} ports")))
    }

    /// Waits until it listens; `false` when it ended instead.
    async fn listens(&mut self) -> Result<bool, Problem> {
        let give_up = Instant::now() + START_LIMIT;
        while self.server.try_wait()?.is_none() && Instant::now() < give_up {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(false)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its version, as the program itself prints it.
    ///
    /// # Errors
    ///
    /// When the program cannot be run or prints something else.
    pub fn version() -> Result<String, Problem> {
        let output = Command::new("redis-server").arg("--version").output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace();
        let version = words.find_map(|word| word.strip_prefix("v=")).map(str::to_owned);
        version.ok_or(Problem(format!("redis-server says {said:?} of its version")))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let ended = self.server.kill().and_then(|()| self.server.wait());
        if let Err(error) = ended {
            eprintln!("a Redis of a test may be left behind: {error}");
        }
    }
}
