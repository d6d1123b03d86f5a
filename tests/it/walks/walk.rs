//! Somebody who follows a page in a fresh folder: types what it says into a shell, and compares
//! what appears with what it shows.
//!
//! Commands run as they are written, in a real shell. Around them everything is as on a reader's
//! machine, except that `./ops` starts what is built already, that the demonstration ends and a
//! server goes on in its place, and that the server's port is one that was free.

use crate::programs::door::Door;
use crate::programs::{Folder, Server, bare, command, eventually, program, run, text};
use crate::walks::data;
use crate::walks::page::{Part, parts};
use crate::walks::printed::{difference, stand_ins};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;
use tokio::process::Command;

/// Stands where the script of the sources does, which would build first.
const OPS: &str = r#"#!/bin/sh
command=$1
shift
export OPS_STARTED_AS=./ops
case $command in
    demo) exec opscenter demo --exit "$@" ;;
    doctor | import | key | log) exec opscenter "$command" "$@" ;;
    replay) exec opscenter-replay "$@" ;;
    *) exit 64 ;;
esac
"#;

/// What is on the pages and does not run in here, each with the reason.
const ELSEWHERE: [(&str, &str); 10] = [
    ("./ops test", "runs this test"),
    ("./ops check", "looks at the sources, which no test changes"),
    ("./ops bench", "measures an optimised build"),
    ("./ops setup", "installs packages"),
    ("DATABASE_URL=", "the tests of the installation use servers that they did not start"),
    ("opscenter log new-epoch", "the tests of the program do it where something was lost"),
    ("opscenter log adopt", "the same"),
    ("opscenter-replay export --all --from 2026", "it may be another month by now"),
    ("opscenter-replay verify FILE", "the page on auditing verifies bundles"),
    ("opscenter serve --witnesses", "the tests of the witnesses serve with some that are there"),
];

/// Words on the pages that stand for something of the reader's.
const STANDS_FOR: [(&str, &str); 1] = [("models FILE", "models model-prices.json")];

/// Blocks that are neither a command nor what one prints.
const ONLY_SHOWN: [&str; 7] = [
    "Ops-Consistency: ",
    "data folder ",
    "log opscenter/log/0197f3a0-…",
    "{\n  \"logs\": [",
    "{\n  \"quorum\": ",
    "old ",
    "opscenter-replay witness serve ",
];

fn is_only_shown(block: &str) -> bool {
    ONLY_SHOWN.iter().any(|start| block.starts_with(start))
}

/// What a command needs.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Demonstrate,
    Serve,
    Run,
    Elsewhere,
}

/// A command that nobody thought of fails, so that no page is skipped in silence.
fn step(command: &str) -> Result<Step, String> {
    if ELSEWHERE.iter().any(|(start, _)| command.starts_with(start)) {
        return Ok(Step::Elsewhere);
    }
    let mut words = command.split_whitespace();
    match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
        ("./ops", "demo") => Ok(Step::Demonstrate),
        ("./ops", "serve") => Ok(Step::Serve),
        ("./ops", "doctor" | "import" | "key" | "log" | "replay") => Ok(Step::Run),
        ("opscenter", "doctor" | "import" | "log") => Ok(Step::Run),
        ("opscenter-replay" | "curl" | "python3", _) => Ok(Step::Run),
        ("cat" | "echo" | "head" | "tail", _) | ("LC_ALL=C", "sed") => Ok(Step::Run),
        _ => Err(format!("no test knows how to run `{command}`")),
    }
}

/// A reader with an installation of their own.
pub(crate) struct Walk {
    // Dropped in this order: the server, the database, the folder.
    server: Option<Server>,
    _data: Folder,
    folder: Folder,
    /// An administrator's API key.
    key: String,
    /// What was typed, and what appeared.
    said: Vec<(String, String)>,
    /// Ids, hashes, keys and moments that a page shows, and what they are here.
    stand_ins: Vec<(String, String)>,
    /// When the last command of the API was recorded.
    recorded_at: String,
    /// The first event of that command.
    event: String,
}

impl Walk {
    /// A folder with the files that the pages speak of and nothing else.
    pub(crate) fn begin() -> Self {
        let folder = Folder::new();
        let path = &folder.0;
        let ops = path.join("ops");
        std::fs::write(&ops, OPS).expect("a file can be written");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&ops, executable).expect("the file is ours");
        symlink(data::sources().join("event-log"), path.join("event-log")).expect("a link");
        std::fs::copy(data::calls(path), path.join("calls.csv")).expect("a copy");
        data::prices(path);
        let (server, data) = (None, Folder(path.join(".opscenter")));
        let (key, recorded_at, event) = (String::new(), String::new(), String::new());
        let (said, stand_ins) = (Vec::new(), Vec::new());
        Self { server, _data: data, folder, key, said, stand_ins, recorded_at, event }
    }

    /// The same with the demonstration in it.
    pub(crate) async fn furnished() -> Self {
        let mut walk = Self::begin();
        walk.demonstrate("./ops demo").await;
        walk
    }

    /// Does what a page says and compares what it shows.
    pub(crate) async fn follow(&mut self, page: &str) {
        for part in parts(page) {
            match part {
                Part::Printed(block) | Part::Other(block) if is_only_shown(&block) => (),
                Part::Command(command) => self.type_in(&command).await,
                Part::Printed(shown) => self.compare(&shown),
                Part::Graphql(document) => self.ask(&document).await,
                Part::Other(block) => panic!("no test knows what to do with this block:\n{block}"),
            }
        }
    }

    /// Types a command as it stands on a page.
    pub(crate) async fn type_in(&mut self, command: &str) {
        match step(command).unwrap_or_else(|problem| panic!("{problem}")) {
            Step::Demonstrate => self.demonstrate(command).await,
            Step::Serve => self.serve().await,
            Step::Run => drop(self.run(command).await),
            Step::Elsewhere => (),
        }
    }

    /// What appeared when a command was typed last.
    pub(crate) fn said(&self, command: &str) -> &str {
        let found = self.said.iter().rfind(|(typed, _)| typed.starts_with(command));
        &found.unwrap_or_else(|| panic!("`{command}` is not on the page")).1
    }

    /// What a file in the folder holds.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        let path = self.folder.0.join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs a command in a folder with nothing but some of the files, as on a machine that has
    /// neither the installation nor its keys. Nothing is made there either.
    pub(crate) async fn on_a_laptop(&self, files: &[&str], command: &str) -> Output {
        let laptop = Folder::new();
        for name in files {
            std::fs::write(laptop.0.join(name), self.file(name)).expect("a file can be written");
        }
        let mut shell = self.shell(command);
        shell.current_dir(&laptop.0).env("HOME", &laptop.0).env_remove("KEY");
        let output = run(&mut shell).await;
        let left = std::fs::read_dir(&laptop.0).expect("a folder").count();
        assert_eq!(left, files.len(), "`{command}` made something");
        output
    }

    /// Furnishes. Whoever typed it has a server from then on.
    async fn demonstrate(&mut self, command: &str) {
        let said = self.run(command).await;
        let line = said.lines().find(|line| line.contains("Ada, administrator"));
        let key = line.and_then(|line| line.split_whitespace().last());
        self.key = key.unwrap_or_else(|| panic!("no key of Ada's in\n{said}")).to_owned();
        self.serve().await;
    }

    /// A server on the folder, in place of one that runs.
    async fn serve(&mut self) {
        self.stop().await;
        let mut serve = command("opscenter");
        serve.args(["serve", "--no-actions", "--address", "127.0.0.1:0"]);
        serve.current_dir(&self.folder.0);
        let server = Server::start(serve).await;
        // The pages say where a server listens that nobody told otherwise.
        let connect = ["localhost", "127.0.0.1"]
            .map(|host| format!("connect-to = \"{host}:8080:{}\"\n", server.address));
        let settings = format!("noproxy = \"*\"\n{}", connect.concat());
        std::fs::write(self.folder.0.join(".curlrc"), settings).expect("a file can be written");
        Self::wait_for_read_models(&Door::new(server.address, &self.key)).await;
        self.server = Some(server);
    }

    /// A demonstration that serves invites to ask only when all of it can be answered.
    async fn wait_for_read_models(door: &Door) {
        eventually("an answer about everything in the log", async || {
            let question = "{ installation { head readModels { position } } }";
            let asked = door.ask(question, json!({})).await["installation"].take();
            let models = asked["readModels"].as_array().expect("a list");
            let is_all = models.iter().all(|model| model["position"] == asked["head"]);
            (is_all && !models.is_empty()).then_some(())
        })
        .await;
    }

    async fn wait_for_checkpoint(door: &Door) {
        eventually("a checkpoint of everything", async || {
            let asked = door.ask("{ logEvidence { unsigned } }", json!({})).await;
            (asked["logEvidence"]["unsigned"] == 0).then_some(())
        })
        .await;
    }

    /// Goes on without a server.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            assert!(server.stop().await.success(), "the server did not stop as it was asked to");
        }
    }

    /// Runs a command that has to succeed; what appears.
    async fn run(&mut self, typed: &str) -> String {
        let command = self.filled_in(typed);
        let output = run(&mut self.shell(&command)).await;
        let said = text(&output.stdout);
        assert!(output.status.success(), "{command}\n{}\n{said}", output.status);
        let kept = command.split_whitespace().skip_while(|word| *word != "-o").nth(1);
        let is_json = kept.is_none_or(|name| name.ends_with(".json"));
        if command.starts_with("curl ") && is_json {
            let said = kept.map_or_else(|| said.clone(), |name| text(&self.file(name)));
            let answer: Value = serde_json::from_str(&said)
                .unwrap_or_else(|error| panic!("{command}\n{error}: {said}"));
            let is_refused = ["errors", "error"].iter().any(|name| answer.get(name).is_some());
            assert!(!is_refused, "{command}\n{answer:#}");
        }
        self.said.push((typed.to_owned(), said.clone()));
        said
    }

    /// A command with what stands on the page for something of the reader's filled in.
    fn filled_in(&self, typed: &str) -> String {
        let mut command = typed.to_owned();
        for (word, meant) in STANDS_FOR {
            command = command.replace(word, meant);
        }
        for (shown, real) in &self.stand_ins {
            if shown.parse::<u32>().is_ok() {
                let words = command.split(' ').map(|word| if word == shown { real } else { word });
                command = words.collect::<Vec<_>>().join(" ");
                continue;
            }
            command = command.replace(shown, real);
            let begin: String = shown.chars().take(8).collect();
            command = command.replace(&format!("{begin}…"), real);
        }
        assert!(!command.contains('…'), "what is left out of `{typed}` is nowhere on the page");
        command
    }

    /// A shell in the folder; both of its outputs appear in one place, as on a terminal.
    fn shell(&self, command: &str) -> Command {
        let mut shell = bare(Command::new("sh"));
        shell.args(["-e", "-c", &format!("exec 2>&1\n{command}")]).current_dir(&self.folder.0);
        let built = ["opscenter", "opscenter-replay"].map(program);
        let programs = built.iter().filter_map(|path| path.parent()).map(Path::to_path_buf);
        let path = std::env::var_os("PATH").expect("a path to sh and curl");
        let path = std::env::join_paths(programs.chain(std::env::split_paths(&path)));
        shell.env("PATH", path.expect("paths without a colon"));
        shell.env("KEY", &self.key).env("CURL_HOME", &self.folder.0);
        shell
    }

    /// Compares what the page shows with what the last command printed.
    fn compare(&mut self, shown: &str) {
        let (command, printed) = self.said.last().expect("a command stands before what it prints");
        if let Some(difference) = difference(shown, printed) {
            panic!("`{command}`: {difference}; this was printed:\n{printed}");
        }
        self.stand_ins.extend(stand_ins(shown, printed));
    }

    /// Asks a document of the API, about an organization that there is and a moment that was.
    async fn ask(&mut self, document: &str) {
        let server = self.server.as_ref().expect("a server answers documents");
        let door = Door::new(server.address, &self.key);
        let acme = "{ organization(slug: \"acme\") { id members { nodes { role userId } } } }";
        let acme = door.ask(acme, json!({})).await["organization"].take();
        let members = acme["members"]["nodes"].as_array().expect("acme has members");
        let member = members.iter().find(|member| member["role"] == "MEMBER");
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let member = text(&member.expect("one who owns nothing")["userId"]);
        let mut document = document.replace("org_…", &text(&acme["id"]));
        document = document.replace("usr_…", &member).replace("0199…", &self.event);
        if document.contains("eventProof") {
            Self::wait_for_checkpoint(&door).await;
        }
        if let Some((before, after)) = document.split_once("time: \"") {
            let (_, after) = after.split_once('"').expect("the end of a moment");
            document = format!("{before}time: \"{}\"{after}", self.recorded_at);
        }
        let answer = door.ask(&document, json!({})).await;
        for done in answer.as_object().expect("data").values() {
            let refused = done.get("userErrors").unwrap_or(&Value::Null);
            assert!(refused.is_null() || *refused == json!([]), "{document}\n{answer:#}");
            if let Some(moment) = done["receipt"]["recordedAt"].as_str() {
                self.recorded_at = moment.to_owned();
            }
            if let Some(event) = done["receipt"]["eventIds"][0].as_str() {
                self.event = event.to_owned();
            }
        }
    }
}

#[test]
fn a_command_that_nobody_thought_of_is_not_skipped() {
    assert_eq!(step("./ops demo"), Ok(Step::Demonstrate));
    assert_eq!(step("./ops test          # everything"), Ok(Step::Elsewhere));
    for unknown in ["./ops", "./ops sell", "opscenter sell", "cargo run", "sudo ./ops demo"] {
        assert!(step(unknown).is_err(), "{unknown}");
    }
}
