//! Archived partitions: the bodies of their events lie in bundles outside the database.
//!
//! The table keeps headers, hashes and the commitments of the bodies
//! (`migrations/0011_archive.sql`), so that only whoever wants a body looks here. Three rules hold:
//!
//! * a body from a bundle is given out only if it is what the event's hash in the table covers;
//! * a body that should be in a bundle and cannot be had is an error that names the file, and never
//!   an event without a body;
//! * what was purged stays purged: kinds of events that may be purged keep their bodies in the
//!   table, and no bundle is asked for them.

mod file;

pub use file::{ArchivedBody, BodyFile};

use crate::evidence::Hash;
use crate::verify::RawRow;
use crate::{EventLog, ReadError, Recorded};
use sqlx::Row;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a body cannot be had from an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nobody said where the archives are.
    #[error(
        "the body at position {position} is in the archive {file}, and no folder of archives is \
         named; set OPS_ARCHIVE to it"
    )]
    NoFolder {
        /// The first position that was asked for.
        position: i64,
        /// The bundle's name.
        file: String,
    },
    /// The bundle cannot be read.
    #[error(
        "the body at position {position} is in the archive {path}, which cannot be read; bring the \
         file back, or name its folder with OPS_ARCHIVE"
    )]
    Unreadable {
        /// The first position that was asked for.
        position: i64,
        /// Where the bundle should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bundle does not have what the log says it has.
    #[error(
        "the archive {path} does not have what was recorded at position {position}; verify it with \
         `opscenter-replay verify`, and bring the right file back"
    )]
    Damaged {
        /// Where it differs first.
        position: i64,
        /// Which bundle.
        path: PathBuf,
    },
}

impl ArchiveError {
    /// The position in question.
    #[must_use]
    pub const fn position(&self) -> i64 {
        match self {
            Self::NoFolder { position, .. }
            | Self::Unreadable { position, .. }
            | Self::Damaged { position, .. } => *position,
        }
    }

    /// Whether the bundle is not there, as when another one has taken its place.
    fn is_gone(&self) -> bool {
        let is_gone = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
        matches!(self, Self::Unreadable { source, .. } if is_gone(source))
    }
}

/// The bundles that were opened so far. Their names say what is in them, so that none is stale.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    folder: Option<PathBuf>,
    opened: Mutex<HashMap<String, Arc<BodyFile>>>,
}

impl Archives {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, opened: Mutex::default() }
    }

    fn path(&self, file: &str, position: i64) -> Result<PathBuf, ArchiveError> {
        let folder = self.folder.as_ref();
        let missing = || ArchiveError::NoFolder { position, file: file.to_owned() };
        Ok(folder.ok_or_else(missing)?.join(file))
    }

    /// A bundle that is open. Those that were removed since are let go, with the bodies in them
    /// that may have been purged.
    fn known(&self, file: &str) -> Option<Arc<BodyFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, file| file.is_there());
        opened.get(file).cloned()
    }

    fn remember(&self, file: String, opened: Arc<BodyFile>) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(file, opened);
    }

    /// The bodies at these positions of one bundle, by position. Reads files and hashes.
    fn read(
        known: Option<Arc<BodyFile>>,
        path: &Path,
        wanted: &[(i64, Hash)],
    ) -> Result<(Arc<BodyFile>, BTreeMap<i64, ArchivedBody>), ArchiveError> {
        let first = wanted.first().map_or(0, |(position, _)| *position);
        let unreadable =
            |source| ArchiveError::Unreadable { position: first, path: path.to_owned(), source };
        let file = match known {
            Some(file) => file,
            None => Arc::new(BodyFile::open(path).map_err(unreadable)?),
        };
        let found = file.bodies(wanted).map_err(unreadable)?;
        if let Some((position, _)) = wanted.iter().find(|(at, _)| !found.contains_key(at)) {
            return Err(ArchiveError::Damaged { position: *position, path: path.to_owned() });
        }
        Ok((file, found))
    }
}

/// Where the bodies of some positions are now: in the table again, or in which bundle. What was
/// purged is nowhere.
const WANTED: &str = "
select l.position, l.event_hash, k.is_back, a.file,
       case when k.is_back then l.payload end as payload,
       case when k.is_back then l.payload_salt end as payload_salt,
       case when k.is_back then l.meta end as meta,
       case when k.is_back then l.meta_salt end as meta_salt
  from event_log.log l
  join event_log.log_partition p on l.position between p.first and p.last
  left join event_log.archive a on a.number = p.number and a.archived_at is not null,
       lateral (select l.payload_commit is null and l.meta_commit is null as is_back) k
 where l.position = any ($1)
   and (k.is_back
        or (a.number is not null
            and not exists (select from event_log.purgeable u where u.type = l.type)))
 order by l.position";

/// How often a body is looked for where it was brought to meanwhile.
const TRIES: u32 = 5;

/// What is to be read from bundles, by their names.
type Wanted = BTreeMap<String, Vec<(i64, Hash)>>;

impl EventLog {
    /// Brings in the bodies that lie in archives. Others stay as they are.
    ///
    /// # Errors
    /// [`ReadError::Archive`] when one should be there and cannot be had.
    pub async fn complete(&self, events: &mut [Recorded]) -> Result<(), ReadError> {
        let is_wanted = |event: &&Recorded| event.payload.is_empty() && event.meta.is_empty();
        let wanted: Vec<i64> = events.iter().filter(is_wanted).map(|e| e.position.0).collect();
        let mut bodies = self.archived(&wanted).await?;
        for event in events.iter_mut().filter(|_| !wanted.is_empty()) {
            if let Some(body) = bodies.remove(&event.position.0) {
                (event.payload, event.meta) = (body.payload, body.meta);
            }
        }
        Ok(())
    }

    /// As [`complete`](Self::complete), for rows with every column.
    ///
    /// # Errors
    /// [`ReadError::Archive`] likewise.
    pub async fn complete_rows<'a>(
        &self,
        rows: impl Iterator<Item = &'a mut RawRow>,
    ) -> Result<(), ReadError> {
        let rows: Vec<&mut RawRow> = rows.filter(|row| row.is_purged_whole()).collect();
        let wanted: Vec<i64> = rows.iter().map(|row| row.position).collect();
        let mut bodies = self.archived(&wanted).await?;
        for row in rows {
            if let Some(body) = bodies.remove(&row.position) {
                (row.payload, row.payload_salt) = (body.payload, body.payload_salt);
                (row.meta, row.meta_salt) = (body.meta, body.meta_salt);
                (row.payload_commit, row.meta_commit) = (None, None);
            }
        }
        Ok(())
    }

    /// The bodies of those of these positions that are archived. Somebody may have brought them
    /// back, or have put another bundle in the place of theirs, since it was seen that they are not
    /// in the table; then they are looked for again.
    async fn archived(&self, positions: &[i64]) -> Result<BTreeMap<i64, ArchivedBody>, ReadError> {
        let mut found = BTreeMap::new();
        let mut missing = positions.to_vec();
        for _ in 1..TRIES {
            if missing.is_empty() {
                return Ok(found);
            }
            let wanted = self.wanted(&missing, &mut found).await?;
            missing.clear();
            for (file, wanted) in wanted {
                let positions: Vec<i64> = wanted.iter().map(|(position, _)| *position).collect();
                match self.read_archive(file, wanted).await {
                    Ok(bodies) => found.extend(bodies),
                    Err(ReadError::Archive(error)) if error.is_gone() => missing.extend(positions),
                    Err(error) => return Err(error),
                }
            }
        }
        for (file, wanted) in self.wanted(&missing, &mut found).await? {
            found.extend(self.read_archive(file, wanted).await?);
        }
        Ok(found)
    }

    /// Where bodies are; those that are in the table are found with that.
    async fn wanted(
        &self,
        positions: &[i64],
        found: &mut BTreeMap<i64, ArchivedBody>,
    ) -> Result<Wanted, ReadError> {
        let mut wanted = Wanted::new();
        if positions.is_empty() {
            return Ok(wanted);
        }
        for row in sqlx::query(WANTED).bind(positions).fetch_all(self.pool()).await? {
            let position: i64 = row.try_get("position")?;
            if row.try_get("is_back")? {
                let body = ArchivedBody {
                    payload: row.try_get("payload")?,
                    payload_salt: row.try_get("payload_salt")?,
                    meta: row.try_get("meta")?,
                    meta_salt: row.try_get("meta_salt")?,
                };
                found.insert(position, body);
                continue;
            }
            let file: Option<String> = row.try_get("file")?;
            let file = file.unwrap_or_default();
            let hash: Vec<u8> = row.try_get("event_hash")?;
            let damaged = |_| ArchiveError::Damaged { position, path: PathBuf::from(&file) };
            let hash = hash.try_into().map_err(damaged)?;
            wanted.entry(file).or_default().push((position, hash));
        }
        Ok(wanted)
    }

    /// Bodies out of one bundle.
    async fn read_archive(
        &self,
        file: String,
        wanted: Vec<(i64, Hash)>,
    ) -> Result<BTreeMap<i64, ArchivedBody>, ReadError> {
        let archives = self.archives();
        let first = wanted.first().map_or(0, |(position, _)| *position);
        let path = archives.path(&file, first)?;
        let known = archives.known(&file);
        let is_new = known.is_none();
        let read = tokio::task::spawn_blocking(move || Archives::read(known, &path, &wanted)).await;
        let interrupted = |_| sqlx::Error::WorkerCrashed;
        let (opened, bodies) = read.map_err(interrupted)??;
        if is_new {
            archives.remember(file, opened);
        }
        Ok(bodies)
    }
}
