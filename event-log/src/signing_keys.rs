//! The keys that a log signs its checkpoints with. They are kept outside the database, in a file
//! that only its owner can read or in a text from the environment, and never printed or logged.
//!
//! * One key is **active**. After [`rotate`](SigningKeys::rotate) the one before **overlaps**:
//!   every checkpoint is signed by both, so that whoever knows either can verify it, until
//!   [`retire`](SigningKeys::retire).
//! * Of a **retired** key the public half is kept for ever, so that old checkpoints verify; its
//!   secret is gone.
//! * The file also says which log this is: [`origin`](SigningKeys::origin) is made of its id, so
//!   that keys and checkpoints of two logs are never taken for one another.
//!
//! A change by another process counts from the next signature on.

mod file;

use crate::note::{Checkpoint, KeyName, Note, NoteError, Signer, VerifierKey};
use crate::secret_file::{self, SecretFileError};
use chrono::{DateTime, SubsecRound, Utc};
use file::{KeyFile, KeyLine};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The name of the key file in the data folder.
pub const SIGNING_KEYS_FILE: &str = "log-keys.json";

/// Signs the checkpoints of one log. Clones share their keys.
#[derive(Clone)]
pub struct SigningKeys(Arc<Inner>);

struct Inner {
    source: Source,
    held: Mutex<Held>,
}

/// Where the keys came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Text,
}

struct Held {
    log_id: Uuid,
    keys: Vec<SigningKey>,
    /// The active one first.
    signers: Vec<Signer>,
    /// Of which file this was read.
    stamp: Option<Stamp>,
}

/// Tells one file from the next that was put into its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// The public half of one key, and since when and until when it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SigningKey {
    /// What verifies its signatures.
    pub verifier_key: VerifierKey,
    /// Whether it signs.
    pub state: KeyState,
    /// It signed nothing before.
    pub created_at: DateTime<Utc>,
    /// It signed nothing after; `None` while it signs.
    pub retired_at: Option<DateTime<Utc>>,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It signs, and is the one to hand to new verifiers.
    Active,
    /// It still signs, for those who know only it.
    Overlapping,
    /// It signs no more; what it signed still verifies.
    Retired,
}

/// What can go wrong with the keys of a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The file cannot be read or made, or others could read it.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file was there before, and is not any more.
    #[error("the signing keys at {path} are gone; restore them from your backup")]
    Gone {
        /// Where they were.
        path: PathBuf,
    },
    /// They contradict themselves.
    #[error("the signing keys of the log are damaged: {0}; restore them from your backup")]
    Damaged(&'static str),
    /// A checkpoint of another log.
    #[error("these keys sign for log {log_id}, not for {origin}; use the keys of that log")]
    OtherLog {
        /// Whose keys these are.
        log_id: Uuid,
        /// What was to be signed.
        origin: String,
    },
    /// There are two keys that sign already.
    #[error("the key before still signs beside the new one; run `opscenter log retire-key` first")]
    Overlapping,
    /// There is one key, and it must sign.
    #[error(
        "there is no key to retire, for only one signs; run `opscenter log rotate-key` first, and \
         retire the old one once every verifier knows the new one"
    )]
    NothingToRetire,
    /// They cannot be changed here.
    #[error(
        "the signing keys come from OPS_LOG_KEYS; change them in a file {SIGNING_KEYS_FILE} with \
         that variable unset, and set it to the new text"
    )]
    Given,
    /// The machine gives no random numbers.
    #[error("no random numbers are to be had")]
    Random(#[source] getrandom::Error),
    /// What was to be signed is no proper text.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl SigningKeys {
    /// Reads the keys from a file, or makes a first one there that only the owner can read.
    ///
    /// # Errors
    /// When the file cannot be used, can be read by others, or is damaged.
    pub fn load_or_create(path: &Path) -> Result<Self, SigningKeyError> {
        if let Some(keys) = Self::load(path)? {
            return Ok(keys);
        }
        let log_id = Uuid::now_v7();
        let (name, fresh) = (name(log_id), fresh_secret()?);
        let line = KeyLine::active(&name, now(), &fresh);
        let text = KeyFile { log_id, keys: vec![line] }.write()?;
        // Whoever comes first wins: what counts is what is there then.
        secret_file::create(path, &text)?;
        Self::load(path)?.ok_or_else(|| SigningKeyError::Gone { path: path.to_owned() })
    }

    /// Reads the keys from a file; `None` where there is none.
    ///
    /// # Errors
    /// As [`load_or_create`](Self::load_or_create).
    pub fn load(path: &Path) -> Result<Option<Self>, SigningKeyError> {
        let held = Held::read(path)?;
        Ok(held.map(|held| Self::of(Source::File(path.to_owned()), held)))
    }

    /// Reads the keys from the text of such a file, as the environment of a managed place gives it.
    ///
    /// # Errors
    /// [`SigningKeyError::Damaged`] when it is none.
    pub fn from_text(text: &str) -> Result<Self, SigningKeyError> {
        Ok(Self::of(Source::Text, Held::parse(text, None)?))
    }

    fn of(source: Source, held: Held) -> Self {
        Self(Arc::new(Inner { source, held: Mutex::new(held) }))
    }

    /// Which log this is.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.held().log_id
    }

    /// The origin of the log's checkpoints in an epoch.
    #[must_use]
    pub fn origin(&self, epoch: u64) -> String {
        format!("{}{epoch}", origin_start(self.log_id()))
    }

    /// Every key there ever was, the oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<SigningKey> {
        self.held().keys.clone()
    }

    /// What verifies every checkpoint ever signed, the oldest first.
    #[must_use]
    pub fn verifier_keys(&self) -> Vec<VerifierKey> {
        self.held().keys.iter().map(|key| key.verifier_key.clone()).collect()
    }

    /// Signs a checkpoint of this log with the active key, and with one that overlaps: the note.
    ///
    /// # Errors
    /// [`SigningKeyError::OtherLog`] for another log's, and when the file is gone or damaged.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<String, SigningKeyError> {
        let mut held = self.held();
        self.refresh(&mut held)?;
        if !is_of_log(checkpoint.origin(), held.log_id) {
            let (log_id, origin) = (held.log_id, checkpoint.origin().to_owned());
            return Err(SigningKeyError::OtherLog { log_id, origin });
        }
        let text = checkpoint.to_string();
        let signatures = held.signers.iter().map(|signer| signer.sign(&text)).collect();
        Ok(Note::new(&text, signatures)?.to_string())
    }

    /// Makes a new active key; the one before signs beside it until it is retired.
    ///
    /// # Errors
    /// [`SigningKeyError::Overlapping`] while one before that still signs, and
    /// [`SigningKeyError::Given`] where the keys come from a text.
    pub fn rotate(&self) -> Result<VerifierKey, SigningKeyError> {
        let secret = fresh_secret()?;
        self.change(|file, name| {
            if file.keys.iter().any(|key| key.state == KeyState::Overlapping) {
                return Err(SigningKeyError::Overlapping);
            }
            for key in file.keys.iter_mut().filter(|key| key.state == KeyState::Active) {
                key.state = KeyState::Overlapping;
            }
            file.keys.push(KeyLine::active(name, now(), &secret));
            Ok(())
        })?;
        let active = self.keys().into_iter().find(|key| key.state == KeyState::Active);
        let active = active.ok_or(SigningKeyError::Damaged("no key is active"))?;
        Ok(active.verifier_key)
    }

    /// Ends the overlap: the key before the active one signs no more, and its secret is destroyed.
    ///
    /// # Errors
    /// [`SigningKeyError::NothingToRetire`] when only one key signs, and
    /// [`SigningKeyError::Given`] where the keys come from a text.
    pub fn retire(&self) -> Result<Vec<VerifierKey>, SigningKeyError> {
        let mut retired = Vec::new();
        self.change(|file, _| {
            for key in file.keys.iter_mut().filter(|key| key.state == KeyState::Overlapping) {
                key.retire(now());
                retired.push(key.public.clone());
            }
            if retired.is_empty() { Err(SigningKeyError::NothingToRetire) } else { Ok(()) }
        })?;
        let is_retired =
            |key: &VerifierKey| retired.iter().any(|public| *public == key.public()[..]);
        Ok(self.verifier_keys().into_iter().filter(is_retired).collect())
    }

    /// Reads, changes and writes the file while nobody else does.
    fn change(
        &self,
        change: impl FnOnce(&mut KeyFile<'_>, &str) -> Result<(), SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let Source::File(path) = &self.0.source else {
            return Err(SigningKeyError::Given);
        };
        let gone = || SigningKeyError::Gone { path: path.clone() };
        let _locked = secret_file::lock(path)?;
        let text = secret_file::read(path)?.ok_or_else(gone)?;
        let mut file = KeyFile::parse(&text)?;
        let name = name(file.log_id);
        change(&mut file, &name)?;
        let changed = file.write()?;
        // Nothing is written that could not be read again.
        Held::parse(&changed, None)?;
        secret_file::replace(path, &changed)?;
        *self.held() = Held::read(path)?.ok_or_else(gone)?;
        Ok(())
    }

    /// Takes in what another process has changed, so that what is listed here is what signs.
    ///
    /// # Errors
    /// When the file is gone or damaged.
    pub fn look_again(&self) -> Result<(), SigningKeyError> {
        let mut held = self.held();
        self.refresh(&mut held)
    }

    fn refresh(&self, held: &mut Held) -> Result<(), SigningKeyError> {
        let Source::File(path) = &self.0.source else { return Ok(()) };
        if held.stamp.is_some() && Stamp::of(path) == held.stamp {
            return Ok(());
        }
        *held = Held::read(path)?.ok_or_else(|| SigningKeyError::Gone { path: path.clone() })?;
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets are nobody's to see.
impl fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held();
        formatter
            .debug_struct("SigningKeys")
            .field("source", &self.0.source)
            .field("log_id", &held.log_id)
            .field("keys", &held.keys)
            .finish()
    }
}

impl Held {
    fn read(path: &Path) -> Result<Option<Self>, SigningKeyError> {
        // Looked at before: if the file is replaced in between, the next look tells.
        let stamp = Stamp::of(path);
        let Some(text) = secret_file::read(path)? else { return Ok(None) };
        Self::parse(&text, stamp).map(Some)
    }

    fn parse(text: &str, stamp: Option<Stamp>) -> Result<Self, SigningKeyError> {
        let file = KeyFile::parse(text)?;
        let (keys, signers) = file.open()?;
        Ok(Self { log_id: file.log_id, keys, signers, stamp })
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let modified = (about.mtime(), about.mtime_nsec());
        Some(Self { inode: about.ino(), modified, bytes: about.len() })
    }
}

/// The name of a log's keys: the same in every epoch, so that who knows them keeps knowing them.
fn name(log_id: Uuid) -> String {
    format!("opscenter/log/{log_id}")
}

fn origin_start(log_id: Uuid) -> String {
    format!("{}/epoch/", name(log_id))
}

/// Whether an origin is one of this log, in whichever epoch.
fn is_of_log(origin: &str, log_id: Uuid) -> bool {
    let epoch = origin.strip_prefix(&origin_start(log_id));
    // A number may be written in one way only.
    epoch.is_some_and(|text| text.parse().is_ok_and(|epoch: u64| epoch.to_string() == text))
}

fn fresh_secret() -> Result<Zeroizing<[u8; 32]>, SigningKeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(SigningKeyError::Random)?;
    Ok(secret)
}

/// The date on a key is for people; nothing is decided by it.
fn now() -> DateTime<Utc> {
    DateTime::<Utc>::from(SystemTime::now()).trunc_subsecs(0)
}

/// The name as a key of a note has it.
fn key_name(name: &str) -> Result<KeyName, SigningKeyError> {
    Ok(name.parse()?)
}
