//! A witness as its own operator runs it: a program with a folder, an address and a list of logs.

use crate::programs::{Folder, PATIENCE, command, printed};
use event_log::SigningKeys;
use event_log::note::VerifierKey;
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A witness, running or not. Dropped, it is killed.
pub(crate) struct Witness {
    program: Option<Child>,
    folder: Folder,
    pub(crate) name: String,
    pub(crate) key: VerifierKey,
    /// Where it listens; the same over restarts.
    pub(crate) address: String,
}

impl Witness {
    /// A witness that runs and knows a log by the keys that sign now.
    pub(crate) async fn start(name: &str, log: &SigningKeys) -> Self {
        let folder = Folder::new();
        let name = format!("witness.example.org/{name}");
        let key = printed(of(&folder, "key").args(["--name", &name])).await;
        let key = key.trim_end().parse().expect("a verifier key");
        let address = "127.0.0.1:0".to_owned();
        let mut witness = Self { program: None, folder, name, key, address };
        witness.learn(log);
        witness.run().await;
        witness
    }

    /// Takes down the keys of a log; a start reads them.
    pub(crate) fn learn(&self, log: &SigningKeys) {
        let list = json!({ "logs": [{ "origin": log.origin(1), "keys": log.verifier_keys() }] });
        std::fs::write(self.folder.0.join("logs.json"), list.to_string()).expect("a file");
    }

    /// Starts it where it was.
    pub(crate) async fn run(&mut self) {
        let logs = self.folder.0.join("logs.json");
        let mut command = of(&self.folder, "serve");
        command.args(["--listen", &self.address, "--logs"]).arg(logs).stdout(Stdio::piped());
        let mut program = command.spawn().expect("it can be started");
        let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
        self.address = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if let Some(address) = line.strip_prefix("listening on http://") {
                    return address.to_owned();
                }
            }
            panic!("{} ended before it listened", self.name)
        })
        .await
        .expect("it listens in time");
        self.program = Some(program);
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().await.expect("it was started here");
        }
    }
}

fn of(folder: &Folder, task: &str) -> Command {
    let mut command = command("opscenter-replay");
    command.args(["witness", task, "--folder"]).arg(folder.0.join("state"));
    command
}
