//! A stranger's script, written from `docs/log-format.md` alone, agrees with ours about bundles of
//! a real log: whole ones, and those that somebody changed and gave an end that fits.

use super::{Signed, bundle_of, frames, verdict};
use event_log::SigningKeys;
use event_log::bundle::Kind;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

impl Signed {
    fn stranger(&self, bundle: &Path) -> Output {
        let keys = self.server.folder().join("log-keys.json");
        let key = SigningKeys::load(&keys).unwrap().unwrap().verifier_keys()[0].to_string();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../event-log/tests/verifiers");
        let mut script = Command::new("python3");
        script.arg(tests.join("bundle.py")).arg(bundle).arg(key);
        script.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_script_agrees_about_a_whole_log_and_about_its_parts() {
    let signed = Signed::start().await;
    let some = ["--all", "--from", "100", "--to", "300"];
    let late = ["--organization", "acme", "--from", "300", "--to", "500"];
    for (name, arguments) in [
        ("all", &["--all"][..]),
        ("some", &some),
        ("bare", &["--all", "--no-bodies"]),
        ("acme", &["--organization", "acme"]),
        ("part", &late),
    ] {
        let bundle = signed.export(name, arguments);
        let ours = verdict(&signed.verify(&bundle), 0, "whole");
        let theirs = signed.stranger(&bundle);
        let expected =
            format!("ok {} 0 {}", ours["events"], ours["checkpoint"]["root"].as_str().unwrap());
        let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
        assert_eq!(said.trim(), expected, "{name}: {theirs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_script_finds_what_was_taken_out_or_changed() {
    let signed = Signed::start().await;
    let path = signed.export("late", &["--organization", "late"]);
    assert!(signed.stranger(&path).status.success());
    let whole = frames(&fs::read(&path).unwrap());
    for at in 1..whole.len() {
        let (mut without, mut changed) = (whole.clone(), whole.clone());
        let kind = without.remove(at).0;
        let frame = &mut changed[at].1;
        let middle = frame.len() / 2;
        frame[middle] ^= 1;
        // The figures are not for a stranger to work out, and only the last checkpoint proves.
        if kind == Kind::Replay {
            continue;
        }
        let is_between =
            kind == Kind::Checkpoint && whole[at + 1..].iter().any(|frame| frame.0 == kind);
        for (what, frames) in [("without", without), ("changed", changed)] {
            if what == "without" && is_between {
                continue;
            }
            fs::write(&path, bundle_of(&frames)).unwrap();
            assert!(!signed.stranger(&path).status.success(), "{what} frame {at}, {kind:?}");
            assert!(signed.found(&bundle_of(&frames)).fault.is_some(), "{what} {at}, {kind:?}");
        }
    }
}
