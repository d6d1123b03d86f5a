//! Makes one hash of everything that folds a history into a state, so that a state which other code
//! left behind is told from one that this code would fold (docs/decisions/0045).
//!
//! It covers the text of the whole domain, of the loader and its snapshots, and the versions of all
//! crates from outside. A change of a comment changes it too: that costs one folding of the longest
//! streams, and nobody has to think of raising a number.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What folds, seen from this folder.
const SOURCES: [&str; 4] = ["../domain/src", "src/loader.rs", "src/snapshots.rs", "../Cargo.lock"];

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        gather(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        for part in [file.as_os_str().as_encoded_bytes(), &fs::read(&file)?] {
            hasher.update(part.len().to_be_bytes());
            hasher.update(part);
        }
    }
    let mut text = String::new();
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").map_err(io::Error::other)?;
    }
    println!("cargo::rustc-env=OPS_FOLDED_BY={text}");
    Ok(())
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        gather(&entry?.path(), files)?;
    }
    Ok(())
}
