//! What is left behind where archiving broke off, or where a bundle was written again: drafts, and
//! bundles that no partition names. They may hold bodies that were purged since.
//!
//! Drafts are nobody's and go before the next work begins. A bundle may be all that is left of
//! something (of a database that is to be set back, of another log whose bundles lie in the same
//! folder), so it goes only when somebody asks for that, and only if it is of this log.

use super::{alone, partitions};
use crate::Failure;
use crate::output::{Out, thousands};
use clap::Args;
use event_log::bundle::Manifest;
use event_log::note::{Checkpoint, Note};
use installation::{Access, Installation, Place};
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Tables that are shaped for a partition and stand for none.
const DRAFTS: &str = "
select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'event_log' and c.relkind = 'r' and c.relname ~ '^log_[ap][0-9]{5,}$'
   and not exists (select from pg_inherits i where i.inhrelid = c.oid)
 order by 1";

/// What is done with bundles that nothing names.
#[derive(Args, Clone, Debug)]
pub(super) struct Prune {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Removes bundles of this log that no partition names, and every draft.
pub(super) async fn run(options: &Prune, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = Installation::open(place, Access::Derive).await?;
    let result = prune(options, &installation).await;
    installation.close().await;
    let gone = result?;
    let names = gone.iter().map(|(path, _)| path.display().to_string());
    if options.json {
        let names: Vec<String> = names.collect();
        writeln!(out, "{}", json!({ "removed": names, "dry_run": options.dry_run }))?;
        return Ok(out.flush()?);
    }
    let what = if options.dry_run { "would be removed" } else { "removed" };
    for (path, bytes) in &gone {
        writeln!(out, "{what}: {}, {} bytes", path.display(), thousands(*bytes))?;
    }
    if gone.is_empty() {
        writeln!(out, "Every bundle of this log is in use.")?;
    }
    Ok(out.flush()?)
}

async fn prune(
    options: &Prune,
    installation: &Installation,
) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut owner = installation.owner().await?;
    alone(&mut owner).await?;
    let folder = installation.archive();
    let mut gone = bundles(installation, &folder).await?;
    gone.extend(drafts(&folder)?);
    if options.dry_run {
        return Ok(gone);
    }
    drop_tables(&mut owner).await?;
    for (path, _) in &gone {
        let failed = |source| Failure::Unwritten { path: path.display().to_string(), source };
        fs::remove_file(path).map_err(failed)?;
        remove(&with_index(path));
    }
    Ok(gone)
}

/// Bundles of this log, and their sizes, that no partition names.
pub(super) async fn bundles(
    installation: &Installation,
    folder: &Path,
) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let Some(log) = log_id(installation).await? else { return Ok(Vec::new()) };
    let partitions = partitions(installation).await?;
    let named: BTreeSet<PathBuf> =
        partitions.into_iter().filter_map(|it| it.file).map(|file| folder.join(file)).collect();
    let is_stray = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("events-") && name.ends_with(".bundle") && !named.contains(path)
    };
    files(folder, |path| is_stray(path) && is_of(path, log))
}

/// Which log this is; none before anything was signed.
async fn log_id(installation: &Installation) -> Result<Option<Uuid>, Failure> {
    let Some(newest) = installation.log().newest_checkpoint().await? else { return Ok(None) };
    let note = newest.note.parse::<Note>();
    let checkpoint = note.and_then(|note| note.text().parse::<Checkpoint>());
    let damaged =
        |_| Failure::Problem(format!("the checkpoint of size {} is damaged", newest.size));
    crate::export::log_of(checkpoint.map_err(damaged)?.origin()).map(Some)
}

fn is_of(path: &Path, log: Uuid) -> bool {
    let manifest = File::open(path).and_then(|file| Manifest::read(&mut BufReader::new(file)));
    manifest.is_ok_and(|manifest| manifest.log == log)
}

/// Drafts of bundles, and their sizes.
fn drafts(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Failure> {
    files(folder, |path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("partition-") && name.contains(".draft")
    })
}

fn files(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let failed = |source| Failure::File { path: folder.display().to_string(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if is_wanted(&entry.path()) {
            found.push((entry.path(), entry.metadata().map_err(failed)?.len()));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what was left by work that broke off. For whoever archives alone.
pub(super) async fn sweep(
    installation: &Installation,
    owner: &mut PgConnection,
) -> Result<(), Failure> {
    drop_tables(owner).await?;
    for (path, _) in drafts(&installation.archive())? {
        remove(&path);
    }
    Ok(())
}

/// Drops the tables that were made to take a partition's place and did not.
pub(super) async fn drop_tables(owner: &mut PgConnection) -> Result<(), Failure> {
    let tables: Vec<String> = sqlx::query_scalar(DRAFTS).fetch_all(&mut *owner).await?;
    for table in tables {
        // The name has letters and digits alone, as the question asks for.
        let drop = format!("drop table if exists event_log.{table}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *owner).await?;
    }
    Ok(())
}

/// Where the index of a bundle lies.
pub(super) fn with_index(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".index");
    PathBuf::from(name)
}

/// Removes a file that nothing needs; that it cannot be is no reason to stop.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "a file that is not needed any more stays");
        }
    }
}
