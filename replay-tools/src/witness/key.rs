//! The witness's own key: made once, kept in a file that only its owner can read.

use crate::Failure;
use data_encoding::BASE64;
use event_log::note::{Cosigner, KeyName};
use event_log::secret_file;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const FILE: &str = "witness-key.json";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    name: String,
    secret: String,
}

/// Reads the key of a folder, or makes one of that name there.
pub(super) fn open(folder: &Path, name: Option<&KeyName>) -> Result<Cosigner, Failure> {
    let path = folder.join(FILE);
    let cosigner = match (load(&path)?, name) {
        (Some(cosigner), _) => cosigner,
        (None, Some(name)) => {
            make(folder, &path, name)?;
            let made = load(&path)?;
            made.ok_or_else(|| Failure::Usage(format!("{} is gone again", path.display())))?
        }
        (None, None) => {
            return Err(Failure::Usage(format!(
                "there is no witness in {} yet; name it with --name to make its key",
                folder.display()
            )));
        }
    };
    match name {
        Some(name) if name != cosigner.verifier().name() => Err(Failure::Usage(format!(
            "the witness in {} is {}, and not {name}; leave --name out, or name another --folder",
            folder.display(),
            cosigner.verifier().name()
        ))),
        _ => Ok(cosigner),
    }
}

fn load(path: &Path) -> Result<Option<Cosigner>, Failure> {
    let read = secret_file::read(path).map_err(|error| Failure::Usage(error.to_string()))?;
    let Some(text) = read else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| {
        Failure::Usage(format!("{} is damaged; restore it from your backup", path.display()))
    })
}

fn parse(text: &str) -> Option<Cosigner> {
    let file: KeyFile = serde_json::from_str(text).ok()?;
    let secret: [u8; 32] = BASE64.decode(file.secret.as_bytes()).ok()?.try_into().ok()?;
    Some(Cosigner::new(file.name.parse().ok()?, &secret))
}

fn make(folder: &Path, path: &Path, name: &KeyName) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|_| Failure::Usage("no random numbers are to be had".to_owned()))?;
    let file = KeyFile { name: name.to_string(), secret: BASE64.encode(&secret) };
    let text = format!("{}\n", serde_json::to_string_pretty(&file)?);
    // Whoever comes first wins: what counts is what is there then.
    secret_file::create(path, &text).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(())
}
