//! `archive write`: seals a partition, writes its bundle, reads it again, and lets the bodies go.
//!
//! In this order, so that a body is always somewhere: the bundle lies whole on the disk under its
//! final name, was verified against the log's own keys, and gave back every body that the table
//! commits to, before the table lets any go.

use super::strays::{remove, sweep, with_index};
use super::{Partition, alone, exchange, partitions, refused};
use crate::output::{Out, progress, thousands};
use crate::{Failure, export};
use clap::Args;
use data_encoding::HEXLOWER;
use event_log::archive::BodyFile;
use event_log::bundle::{self, Fold, Manifest, Seen};
use event_log::note::Policy;
use installation::Installation;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// How many events are compared at a time.
const PAGE: i64 = 4_096;

/// Which partitions, and whether their bodies go.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// The partitions by number, as `archive list` shows them
    #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<i32>,
    /// Every partition that is full and not archived yet
    #[arg(long)]
    all: bool,
    /// Write the bundle only; the bodies stay in the table as well
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(
    options: &Options,
    installation: &Installation,
    out: Out<'_>,
) -> Result<(), Failure> {
    let chosen = chosen(options, partitions(installation).await?)?;
    if chosen.is_empty() {
        writeln!(out, "No partition is full and waits to be archived.")?;
    }
    let mut owner = installation.owner().await?;
    alone(&mut owner).await?;
    sweep(installation, &mut owner).await?;
    for partition in chosen {
        let written = one(installation, &mut owner, &partition, options.keep).await?;
        let events = thousands((partition.last - partition.first + 1).unsigned_abs());
        let where_now =
            if options.keep { "are in the table as well" } else { "are only there now" };
        writeln!(out, "partition  {}, {events} events", partition.number)?;
        writeln!(out, "bundle     {}", written.display())?;
        writeln!(out, "It was verified and compared with the table; its bodies {where_now}.")?;
        out.flush()?;
    }
    Ok(())
}

fn chosen(options: &Options, found: Vec<Partition>) -> Result<Vec<Partition>, Failure> {
    if options.all {
        let waits = |it: &Partition| it.is_full && (!it.is_archived || it.is_stale);
        return Ok(found.into_iter().filter(waits).collect());
    }
    let find = |number: &i32| {
        let partition = found.iter().find(|it| it.number == *number).cloned();
        let missing =
            || Failure::Usage(format!("there is no partition {number}; see `archive list`"));
        partition.ok_or_else(missing)
    };
    options.numbers.iter().map(find).collect()
}

async fn one(
    installation: &Installation,
    owner: &mut PgConnection,
    partition: &Partition,
    keeps: bool,
) -> Result<PathBuf, Failure> {
    seal(owner, partition).await?;
    let folder = installation.archive();
    let failed = |source| Failure::Unwritten { path: folder.display().to_string(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    let draft = folder.join(format!("partition-{:05}.draft", partition.number));
    let made = make(installation, partition, &draft).await;
    if made.is_err() {
        [draft.clone(), with_index(&draft)].iter().for_each(|path| remove(path));
    }
    let (checked, proved_by) = made?;
    let name = format!("events-{:05}-{}.bundle", partition.number, &checked.digest[..16]);
    let path = folder.join(&name);
    put(&draft, &path).map_err(failed)?;
    sqlx::query(
        "update event_log.archive set file = $2, bytes = $3, digest = decode($4, 'hex'),
                proved_by = $5, written_at = clock_timestamp() where number = $1",
    )
    .bind(partition.number)
    .bind(&name)
    .bind(checked.bytes)
    .bind(&checked.digest)
    .bind(proved_by)
    .execute(&mut *owner)
    .await?;
    if !keeps && !partition.is_archived {
        exchange::exchange(owner, partition.number, true).await?;
    }
    if let Some(old) = partition.file.as_ref().filter(|old| **old != name) {
        let old = folder.join(old);
        [with_index(&old), old].iter().for_each(|path| remove(path));
    }
    Ok(path)
}

/// Writes a bundle and reads it again; which checkpoint proves it.
async fn make(
    installation: &Installation,
    partition: &Partition,
    draft: &Path,
) -> Result<(Reread, i64), Failure> {
    let (first, last) = (partition.first, partition.last);
    let proved_by = export::positions(installation.log(), (first, last), draft).await?;
    let policy = Policy::of_logs(installation.signing_keys()?.verifier_keys());
    let checked = reread(draft.to_owned(), policy).await?;
    compare(installation, partition, draft).await?;
    Ok((checked, proved_by))
}

/// Makes sure that it is full and signed, and lets Postgres freeze its rows, so that no later
/// vacuum has to.
async fn seal(owner: &mut PgConnection, partition: &Partition) -> Result<(), Failure> {
    sqlx::query("select event_log.seal_partition($1)")
        .bind(partition.number)
        .execute(&mut *owner)
        .await
        .map_err(refused)?;
    if !partition.is_archived {
        let table: String = sqlx::query_scalar("select event_log.partition_table($1, false)")
            .bind(partition.number)
            .fetch_one(&mut *owner)
            .await?;
        let vacuum = format!("vacuum (freeze, analyze) event_log.{table}");
        sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(&mut *owner).await?;
    }
    Ok(())
}

/// What was found by reading a bundle again.
struct Reread {
    digest: String,
    bytes: i64,
}

struct Nobody;

impl Fold for Nobody {
    fn begin(&mut self, _: &Manifest) {}
    fn figures(&mut self, _: &[u8]) {}
    fn event(&mut self, _: &Seen<'_>) {}
}

/// Verifies a bundle as an auditor would, with the log's own keys.
async fn reread(path: PathBuf, policy: Policy) -> Result<Reread, Failure> {
    let read = tokio::task::spawn_blocking(move || {
        let failed = |source| Failure::File { path: path.display().to_string(), source };
        let file = File::open(&path).map_err(failed)?;
        let outcome = bundle::verify(&file, &policy, &mut Nobody).map_err(failed)?;
        if let Some(fault) = outcome.fault {
            return Err(Failure::Problem(format!(
                "the bundle that was written does not verify: {fault}; the partition stays as it is"
            )));
        }
        let (digest, bytes) = digest(&path).map_err(failed)?;
        Ok(Reread { digest: HEXLOWER.encode(&digest), bytes })
    });
    read.await.map_err(|error| Failure::Problem(format!("reading again broke off: {error}")))?
}

fn digest(path: &Path) -> io::Result<([u8; 32], i64)> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0_i64);
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finalize().into(), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += i64::try_from(read).unwrap_or_default();
    }
}

/// Every event that has a body now, by the hash that the table keeps.
const WITH_BODIES: &str = "
select l.position, l.event_hash from event_log.log l
 where l.position > $1 and l.position <= $2
   and (l.payload_commit is null
        or not exists (select from event_log.purgeable u where u.type = l.type))
 order by l.position";

/// Reads every body out of the bundle, in the way that readers will, and compares it with what the
/// table commits to. Leaves the index beside the bundle.
async fn compare(
    installation: &Installation,
    partition: &Partition,
    path: &Path,
) -> Result<(), Failure> {
    let failed = |source| Failure::File { path: path.display().to_string(), source };
    let broken = |error| Failure::Problem(format!("comparing broke off: {error}"));
    let at = path.to_owned();
    let indexed = tokio::task::spawn_blocking(move || BodyFile::index(&at)).await;
    let file = std::sync::Arc::new(indexed.map_err(broken)?.map_err(failed)?);
    let bar = progress(partition.last - partition.first + 1, "events compared");
    let mut after = partition.first - 1;
    while after < partition.last {
        let to = partition.last.min(after + PAGE);
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as(WITH_BODIES).bind(after).bind(to).fetch_all(installation.pool()).await?;
        let damaged = |position: i64| {
            Failure::Problem(format!(
                "position {position}: the bundle does not give back what the table commits to; the \
                 partition stays as it is"
            ))
        };
        let mut wanted = Vec::with_capacity(rows.len());
        for (position, hash) in rows {
            wanted.push((position, hash.try_into().map_err(|_| damaged(position))?));
        }
        let file = std::sync::Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || (file.bodies(&wanted), wanted)).await;
        let (bodies, wanted) = read.map_err(broken)?;
        let bodies = bodies.map_err(failed)?;
        if let Some((position, _)) = wanted.iter().find(|(at, _)| !bodies.contains_key(at)) {
            return Err(damaged(*position));
        }
        after = to;
        bar.set_position((after - partition.first + 1).unsigned_abs());
    }
    bar.finish_and_clear();
    Ok(())
}

/// Gives the bundle and its index their names, for good.
fn put(draft: &Path, path: &Path) -> io::Result<()> {
    // The index first: one without its bundle means nothing.
    fs::rename(with_index(draft), with_index(path))?;
    fs::rename(draft, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
