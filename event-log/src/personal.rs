//! Personal data: sealed with one key per person and tenant, so that it can be destroyed.
//!
//! What is recorded is the sealed form; hashes and totals never depend on the clear one. Keys lie
//! in the database wrapped by a master key that is kept outside it, so that neither alone opens
//! anything. Erasing a person empties their key: what was sealed with it is gone everywhere,
//! also in backups of the log, and the log still verifies.

use crate::EventLog;
use crate::secret_file::{self, SecretFileError};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sqlx::PgPool;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The first byte of everything sealed: in which form.
const FORM: u8 = 1;
const NONCE_BYTES: usize = 12;

/// How long a process may go on using a key that another one has erased.
const CACHE_LIFE: Duration = Duration::from_secs(2);
pub(crate) const CACHE_KEYS_MAX: usize = 50_000;

/// The key that wraps all others; kept outside the database.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("the master key at {path} cannot be used; check the folder and its rights")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Others could read it.
    #[error("the master key at {path} can be read by others; run chmod 600 on it")]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// It is not 32 bytes in base64.
    #[error("the master key is not 32 bytes in base64; restore it from your backup")]
    Malformed,
    /// The keys in the database were wrapped by another one.
    #[error("the master key is not the one this database was used with; restore that one")]
    WrongMaster,
    /// The person was erased: nothing can be sealed for them any more.
    #[error("subject {subject} was erased; nothing more can be sealed for it")]
    Erased {
        /// Who.
        subject: Uuid,
    },
    /// What was sealed is not what is read.
    #[error("sealed bytes of subject {subject} cannot be opened; they were changed or cut short")]
    Damaged {
        /// Whose.
        subject: Uuid,
    },
    /// The machine gives no random numbers.
    #[error("no random numbers are to be had")]
    Random(#[source] getrandom::Error),
    /// The database did not answer.
    #[error("the keys cannot be read just now; try again")]
    Unavailable(#[from] sqlx::Error),
}

/// Says of which secret the file is.
impl From<SecretFileError> for KeyError {
    fn from(error: SecretFileError) -> Self {
        match error {
            SecretFileError::File { path, source } => Self::File { path, source },
            SecretFileError::Exposed { path } => Self::Exposed { path },
        }
    }
}

impl MasterKey {
    /// Reads the key from a file, or makes a new one there that only the owner can read.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match secret_file::read(path)? {
            Some(text) => Self::from_base64(&text),
            None => Self::create(path),
        }
    }

    /// Makes a new key; whoever comes first wins, and it is on disk before anything is sealed
    /// with it.
    fn create(path: &Path) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = random()?;
        match secret_file::create(path, &format!("{}\n", BASE64.encode(&bytes)))? {
            true => Ok(Self(bytes)),
            false => Self::load_or_create(path),
        }
    }

    /// Reads the key from its text form.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(text.trim().as_bytes()).map_err(|_| KeyError::Malformed)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Malformed)
    }

    /// A key of its own for each purpose.
    fn derive(&self, purpose: &str) -> [u8; 32] {
        mac(&self.0, &[purpose.as_bytes()])
    }
}

/// What opening gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// What was sealed.
    Clear(Vec<u8>),
    /// The person was erased; there is nothing to open any more.
    Erased,
}

#[derive(Clone, Copy)]
struct Cached {
    /// None for an erased person.
    key: Option<[u8; 32]>,
    read_at: Instant,
}

/// Seals and opens personal data. Clones share the keys they hold.
#[derive(Clone)]
pub struct KeyRing {
    pool: PgPool,
    wrap: [u8; 32],
    blind: [u8; 32],
    held: Arc<Mutex<HashMap<(Uuid, Uuid), Cached>>>,
    /// Items of vaults by the mark of what they are.
    pub(crate) vaulted: Arc<Mutex<HashMap<[u8; 32], Uuid>>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Opens the keys of a log, after making sure that the master key is the right one.
    pub async fn open(log: &EventLog, master: &MasterKey) -> Result<Self, KeyError> {
        let ring = Self {
            pool: log.pool().clone(),
            wrap: master.derive("opscenter wrap 1"),
            blind: master.derive("opscenter blind 1"),
            held: Arc::default(),
            vaulted: Arc::default(),
        };
        // Several, because one of them may be damaged: that is no sign of another master key.
        let samples: Vec<(Uuid, Uuid, Vec<u8>)> = sqlx::query_as(
            "select tenant, subject, wrapped from event_log.subject_key
              where wrapped is not null limit 16",
        )
        .fetch_all(&ring.pool)
        .await?;
        let opens = |(tenant, subject, wrapped): &(Uuid, Uuid, Vec<u8>)| {
            ring.fits(*tenant, *subject, wrapped)
        };
        if !samples.is_empty() && !samples.iter().any(opens) {
            return Err(KeyError::WrongMaster);
        }
        Ok(ring)
    }

    /// Seals bytes for a person. Their key is on disk before this returns.
    pub async fn seal(
        &self,
        tenant: Uuid,
        subject: Uuid,
        clear: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let key = self.key_for_sealing(tenant, subject).await?;
        encrypt(&key, &binding("field", tenant, subject), clear)
    }

    /// A person's key, made if there is none yet.
    pub(crate) async fn key_for_sealing(
        &self,
        tenant: Uuid,
        subject: Uuid,
    ) -> Result<[u8; 32], KeyError> {
        match self.key(tenant, subject).await? {
            Some(found) => found.ok_or(KeyError::Erased { subject }),
            None => self.new_key(tenant, subject).await,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Opens what was sealed for a person.
    pub async fn unseal(
        &self,
        tenant: Uuid,
        subject: Uuid,
        sealed: &[u8],
    ) -> Result<Opened, KeyError> {
        match self.key(tenant, subject).await? {
            Some(Some(key)) => decrypt(&key, &binding("field", tenant, subject), sealed)
                .map(Opened::Clear)
                .ok_or(KeyError::Damaged { subject }),
            Some(None) => Ok(Opened::Erased),
            // Sealed bytes without any key row: the row is never removed, so it never was.
            None => Err(KeyError::Damaged { subject }),
        }
    }

    /// Destroys a person's key for good; true when there was one or they were erased before.
    /// Other processes stop opening within two seconds.
    pub async fn erase(&self, tenant: Uuid, subject: Uuid) -> Result<bool, KeyError> {
        let existed = sqlx::query_scalar("select event_log.erase_subject_key($1, $2)")
            .bind(tenant)
            .bind(subject)
            .fetch_one(&self.pool)
            .await?;
        self.remember(tenant, subject, None);
        self.vaulted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(existed)
    }

    /// A value that stands for another without giving it away: equal for equal values only, and
    /// not to be guessed without the master key.
    #[must_use]
    pub fn blind(&self, scope: &str, value: &[u8]) -> [u8; 32] {
        let length = scope.len().to_be_bytes();
        mac(&self.blind, &[&length, scope.as_bytes(), value])
    }

    /// Whether a wrapped key, as the database holds it, is the one that was made for a person.
    #[must_use]
    pub fn fits(&self, tenant: Uuid, subject: Uuid, wrapped: &[u8]) -> bool {
        self.unwrap(tenant, subject, wrapped).is_ok()
    }

    /// The key of a person: none if there never was one, empty if they were erased.
    async fn key(&self, tenant: Uuid, subject: Uuid) -> Result<Option<Option<[u8; 32]>>, KeyError> {
        if let Some(key) = self.recall(tenant, subject) {
            return Ok(Some(key));
        }
        let row: Option<(Option<Vec<u8>>,)> = sqlx::query_as(
            "select wrapped from event_log.subject_key where tenant = $1 and subject = $2",
        )
        .bind(tenant)
        .bind(subject)
        .fetch_optional(&self.pool)
        .await?;
        let Some((wrapped,)) = row else {
            return Ok(None);
        };
        let key = wrapped.map(|bytes| self.unwrap(tenant, subject, &bytes)).transpose()?;
        self.remember(tenant, subject, key);
        Ok(Some(key))
    }

    /// Makes a person's key; if another process was faster, theirs counts.
    async fn new_key(&self, tenant: Uuid, subject: Uuid) -> Result<[u8; 32], KeyError> {
        let proposed: [u8; 32] = random()?;
        let wrapped = encrypt(&self.wrap, &binding("wrap", tenant, subject), &proposed)?;
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("select event_log.keep_subject_key($1, $2, $3)")
                .bind(tenant)
                .bind(subject)
                .bind(wrapped)
                .fetch_one(&self.pool)
                .await?;
        let kept = kept.ok_or(KeyError::Erased { subject })?;
        let key = self.unwrap(tenant, subject, &kept)?;
        self.remember(tenant, subject, Some(key));
        Ok(key)
    }

    pub(crate) fn unwrap(
        &self,
        tenant: Uuid,
        subject: Uuid,
        wrapped: &[u8],
    ) -> Result<[u8; 32], KeyError> {
        decrypt(&self.wrap, &binding("wrap", tenant, subject), wrapped)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(KeyError::WrongMaster)
    }

    fn recall(&self, tenant: Uuid, subject: Uuid) -> Option<Option<[u8; 32]>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = held.get(&(tenant, subject))?;
        (cached.read_at.elapsed() < CACHE_LIFE).then_some(cached.key)
    }

    fn remember(&self, tenant: Uuid, subject: Uuid, key: Option<[u8; 32]>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= CACHE_KEYS_MAX {
            held.clear();
        }
        held.insert((tenant, subject), Cached { key, read_at: Instant::now() });
    }
}

/// What sealed bytes are bound to, so that they cannot be moved to another person.
pub(crate) fn binding(purpose: &str, tenant: Uuid, subject: Uuid) -> Vec<u8> {
    [purpose.as_bytes(), tenant.as_bytes(), subject.as_bytes()].concat()
}

pub(crate) fn encrypt(key: &[u8; 32], bound: &[u8], clear: &[u8]) -> Result<Vec<u8>, KeyError> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let body = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: clear, aad: bound })
        // Fails only beyond 64 GiB, which no body of an event reaches.
        .map_err(|_| KeyError::Malformed)?;
    Ok([&[FORM], nonce.as_slice(), &body].concat())
}

pub(crate) fn decrypt(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (form, rest) = sealed.split_first()?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>()?;
    if *form != FORM {
        return None;
    }
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: bound }).ok()
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // The algorithm pads a key with zeros to its block: given as a block it cannot be refused.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256>>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    Ok(bytes)
}
