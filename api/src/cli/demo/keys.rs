//! API keys of the demonstration: the same each time it is furnished.
//!
//! A key is shown once and only its hash is kept. So that a second run can show the same key again,
//! the secrets of the demonstration follow from the installation's master key, which never leaves
//! the machine; two installations have different ones.

use commands::NewKey;
use domain::identity::api_key::{PrintedKey, hash_secret};
use domain::values::Code;
use event_log::KeyRing;

/// The key of one name.
pub(super) fn key(keys: &KeyRing, name: &str) -> Result<PrintedKey, domain::values::CodeError> {
    let environment: Code = "demo".parse()?;
    let public = keys.blind("demo.key.public", name.as_bytes());
    let secret = keys.blind("demo.key.secret", name.as_bytes());
    let mut first = [0; 12];
    first.copy_from_slice(&public[..12]);
    Ok(PrintedKey::new(environment, first, &secret))
}

/// What is recorded of a key.
pub(super) fn recorded(key: &PrintedKey) -> NewKey {
    NewKey { public_part: key.public_part.clone(), secret_hash: hash_secret(&key.secret) }
}

/// The one-time token that makes the demonstration's administrator.
pub(super) fn setup_token(keys: &KeyRing) -> String {
    data_encoding::BASE64URL_NOPAD.encode(&keys.blind("demo.setup", b"token"))
}
