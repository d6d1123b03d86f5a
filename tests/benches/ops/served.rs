//! A demonstration served by the built program, and programs whose memory is watched.

use crate::cluster::folder;
use crate::report::Report;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

/// A program of the same build.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("our own program");
    let path = own.parent().and_then(Path::parent).expect("target/release").join(name);
    assert!(path.is_file(), "{} is missing: cargo build --release --bins", path.display());
    path
}

/// A served demonstration.
pub(crate) struct Served {
    process: Child,
    base: String,
    key: String,
    pub(crate) data: PathBuf,
    http: reqwest::Client,
}

impl Served {
    /// Makes the demonstration's history; where it lies, and the administrator's key.
    pub(crate) async fn furnish() -> (PathBuf, String) {
        let data = folder().join(format!("doors-{}", Uuid::now_v7().simple()));
        let furnish = Command::new(program("opscenter"))
            .args(["demo", "--exit", "--data"])
            .arg(&data)
            .output()
            .await
            .expect("the demonstration");
        assert!(furnish.status.success(), "{}", String::from_utf8_lossy(&furnish.stderr));
        let said = String::from_utf8_lossy(&furnish.stdout).into_owned();
        let key = said.lines().find(|line| line.contains("Ada, administrator"));
        let key = key.and_then(|line| line.split_whitespace().last()).expect("a key").to_owned();
        (data, key)
    }

    /// Serves what lies there.
    pub(crate) async fn start((data, key): (PathBuf, String)) -> Self {
        let mut process = Command::new(program("opscenter"))
            .args(["serve", "--address", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut base = String::new();
        while base.is_empty() {
            let line = lines.next_line().await.expect("a line").expect("an address");
            if let Some((_, address)) = line.split_once("listens at ") {
                address.trim().clone_into(&mut base);
            }
        }
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { process, base, key, data, http }
    }

    /// Stops the server in order; the data stays.
    pub(crate) async fn end(mut self) {
        let id = self.process.id().expect("a process").to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status().await;
        let _ = self.process.wait().await;
    }

    /// Asks, and expects an answer without errors.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key);
        let answer = request.json(body).send().await.expect("an answer");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success() && body.get("errors").is_none(), "{status} {body}");
        body
    }

    /// A field of the kernel's account of the server's memory, in MiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        memory_of(self.process.id().expect("a process"), field)
    }
}

fn memory_of(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// Runs a program; how long it took, and the most memory it held, in MiB.
pub(crate) async fn watched(command: &mut Command) -> (Duration, u64) {
    let begun = Instant::now();
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut process = process.expect("the program");
    let id = process.id().expect("a process");
    let mut most = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            status = process.wait() => {
                assert!(status.expect("an end").success(), "{command:?} failed");
                return (begun.elapsed(), most);
            }
            _ = looks.tick() => most = most.max(memory_of(id, "VmHWM")),
        }
    }
}

/// What the process of a rebuild holds at most.
pub(crate) async fn memory_of_rebuild(name: &str, data: &Path, report: &mut Report) {
    let mut command = Command::new(program("opscenter-replay"));
    command.args(["rebuild", name, "--data"]).arg(data);
    let (time, memory) = watched(&mut command).await;
    report.figure(
        &format!("rebuild {name} as a program: time, peak memory"),
        &format!("{} s, {memory} MiB", time.as_secs()),
    );
}
