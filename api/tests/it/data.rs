//! The files of the tests: real ones where they are, small ones of our own where they are not.
//!
//! Continuous integration has the real ones and insists on them.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of calls and how many rows it has.
pub(crate) struct Calls {
    pub(crate) path: PathBuf,
    pub(crate) rows: u64,
}

/// Rows of the real trace.
const TRACE_ROWS: u64 = 19_366;
/// Rows of ours.
const OWN_ROWS: u64 = 3_017;

/// An hour of real calls.
pub(crate) fn calls(folder: &Path) -> Calls {
    match shared("azure-llm-2023-conv.csv") {
        Some(path) => Calls { path, rows: TRACE_ROWS },
        None => Calls { path: own_calls(folder), rows: OWN_ROWS },
    }
}

/// A price list with the models of the tests.
pub(crate) fn prices(folder: &Path) -> PathBuf {
    shared("model-prices.json").unwrap_or_else(|| {
        let path = folder.join("prices.json");
        fs::write(&path, include_str!("../files/prices.json")).expect("a file can be written");
        path
    })
}

/// A file of the brief's data, beside the sources.
fn shared(name: &str) -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = sources.join("../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("OPS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{} is needed and is not there", path.display());
    if let Some(skipped) = std::env::var_os("OPS_SKIPPED") {
        let file = fs::OpenOptions::new().append(true).create(true).open(skipped);
        let line = format!("real data: {name} is not there; a small file of our own was used\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the list can be added to");
    }
    None
}

fn own_calls(folder: &Path) -> PathBuf {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for row in 0..OWN_ROWS {
        let (minute, second) = (row / 60 % 60, row % 60);
        let (asked, answered) = (row * 7_919 % 14_051, row * 104_729 % 1_001);
        writeln!(text, "2023-11-16 18:{minute:02}:{second:02}.{row:07},{asked},{answered}")
            .expect("text can be added to");
    }
    let path = folder.join("calls.csv");
    fs::write(&path, text).expect("a file can be written");
    path
}

/// What a Python program of the tests prints, as JSON.
pub(crate) fn python(program: &str, arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(program);
    let output = Command::new("python3").arg(path).args(arguments).output();
    let output = output.expect("python3 can be run; install it");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON is printed")
}
