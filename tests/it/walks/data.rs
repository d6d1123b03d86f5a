//! The files that the pages speak of: the real ones where they are, small ones where they are not,
//! which is said aloud.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The first calls of the trace.
const CALLS: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                     2023-11-16 18:15:46.6805900,374,44\n\
                     2023-11-16 18:15:50.9951690,396,109\n\
                     2023-11-16 18:15:51.2224670,879,55\n";
const PRICES: &str = include_str!("../../../api/tests/files/prices.json");

/// The sources of the project.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Puts an hour of calls into a folder; where it is.
pub(crate) fn calls(folder: &Path) -> PathBuf {
    put(folder, "azure-llm-2023-conv.csv", CALLS)
}

/// Puts a price list into a folder; where it is.
pub(crate) fn prices(folder: &Path) -> PathBuf {
    put(folder, "model-prices.json", PRICES)
}

fn put(folder: &Path, name: &str, own: &str) -> PathBuf {
    let (real, path) = (sources().join("../shared/data").join(name), folder.join(name));
    if real.exists() {
        // Written anew, because a copy of what is read-only would be read-only too.
        let bytes = std::fs::read(real).expect("it is there");
        std::fs::write(&path, bytes).expect("a file can be written");
        return path;
    }
    let required = std::env::var_os("OPS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{} is needed and is not there", real.display());
    if let Some(skipped) = std::env::var_os("OPS_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(skipped);
        let line = format!("real data: {name} is not there; a small file of our own was used\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list grows");
    }
    std::fs::write(&path, own).expect("a file can be written");
    path
}
