//! `export`: a part of the log as one file that proves itself to whoever has neither the database
//! nor a network (`docs/log-format.md` says how).
//!
//! Events stream from the database into the file, in the memory of a few pages. The file is written
//! beside its place, flushed, and put there whole. Personal data in it stays sealed.

mod rows;
mod stream;

use crate::events::since;
use crate::history::settle;
use crate::moment::{Moment, resolve};
use crate::output::{Out, progress, thousands};
use crate::snapshot::Snapshot;
use crate::totals::{self, Totals};
use crate::{Failure, organization, session};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use domain::catalogue::meter::Aggregation;
use domain::values::Code;
use event_log::bundle::{Kind, Manifest, Scope, Writer};
use event_log::note::{Checkpoint, Note};
use event_log::{EventLog, Position};
use installation::Place;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use stream::Stream;

const BUFFER_BYTES: usize = 1 << 20;

/// What is to be proved, and where the file goes.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay export --organization acme -o acme.bundle
  opscenter-replay export --all --from 2026-11-01 --to 2026-12-01 -o november.bundle
  opscenter-replay verify acme.bundle --policy policy.txt

The bundle is proved by a signed checkpoint; a running server signs one within seconds of every
change. A bundle of an organization shows nothing of others but hashes. Of everything, --from and
--to are widened to whole batches.")]
pub(crate) struct Options {
    /// The events of one organization, by id or slug
    #[arg(long, value_name = "ORG", required_unless_present = "all", conflicts_with = "all")]
    organization: Option<String>,
    /// All events
    #[arg(long)]
    all: bool,
    /// From this position on, or from what was recorded at or after this time
    #[arg(long, value_name = "TIME|POSITION")]
    from: Option<Moment>,
    /// Up to this position, or what was recorded at or before this time; as far as is signed by
    /// default
    #[arg(long, value_name = "TIME|POSITION")]
    to: Option<Moment>,
    /// Only what the hashes cover, without payloads and meta
    #[arg(long)]
    no_bodies: bool,
    /// Prove it by the newest checkpoint that a witness has signed
    #[arg(long)]
    sealed: bool,
    /// The file to be written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// The figures of an organization as they stand in a bundle, and how each meter adds up: that is
/// defined by the platform, whose events are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// How each meter adds up.
    pub(crate) aggregations: BTreeMap<Code, Aggregation>,
    /// As of the bundle's last position.
    pub(crate) totals: Totals,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: String,
    organization: Option<String>,
    from: i64,
    to: i64,
    events: u64,
    checkpoint: u64,
    bytes: u64,
}

/// Writes the bundle and says what is in it.
///
/// # Errors
/// [`Failure::Usage`] when the file is there, or nothing signed covers what was asked.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    refuse_existing(options)?;
    let installation = session::open(place).await?;
    let result = export(installation.log(), options).await;
    installation.close().await;
    let written = result?;
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&written)?)?;
        return Ok(out.flush()?);
    }
    let Written { file, from, to, checkpoint, .. } = &written;
    let whose = written.organization.as_deref().unwrap_or("everything");
    writeln!(out, "bundle      {file}, {} bytes", thousands(written.bytes))?;
    writeln!(out, "of          {whose}")?;
    writeln!(out, "events      {}, positions {from} to {to}", thousands(written.events))?;
    writeln!(out, "proved by   the checkpoint of size {checkpoint}")?;
    writeln!(out, "Check it with: opscenter-replay verify {file} --policy POLICY")?;
    Ok(out.flush()?)
}

/// Writes everything between two positions into a file, whether or not there is one, and answers
/// the size of the checkpoint that proves it.
///
/// # Errors
/// As [`run`].
pub(crate) async fn positions(
    log: &EventLog,
    (first, last): (i64, i64),
    path: &Path,
) -> Result<i64, Failure> {
    let options = Options {
        organization: None,
        all: true,
        from: Some(Moment::Position(Position(first))),
        to: Some(Moment::Position(Position(last))),
        no_bodies: false,
        sealed: false,
        output: path.to_owned(),
        force: true,
        json: false,
    };
    let written = export(log, &options).await?;
    Ok(i64::try_from(written.checkpoint).unwrap_or(i64::MAX))
}

fn refuse_existing(options: &Options) -> Result<(), Failure> {
    if options.force || !options.output.exists() {
        return Ok(());
    }
    let file = options.output.display();
    Err(Failure::Usage(format!("{file} is there already; name another or add --force")))
}

async fn export(log: &EventLog, options: &Options) -> Result<Written, Failure> {
    settle(log).await;
    let mut snapshot = Snapshot::take(log).await?;
    let (size, checkpoint) = newest(&mut snapshot, options.sealed).await?;
    let to = match options.to {
        None => Position(size),
        Some(moment) => resolve(log, Some(moment)).await?,
    };
    if to.0 > size {
        return Err(Failure::Usage(format!(
            "what is signed ends at {size}, and {to} was asked for; a running server signs what is \
             new within seconds"
        )));
    }
    let from = since(log, options.from).await?.next();
    let found = match &options.organization {
        Some(name) => Some(organization::find(log, name, to).await?),
        None => None,
    };
    let (from, to) = match found {
        Some(_) => (from.0, to.0),
        None => rows::whole_batches(log.pool(), from.0, to.0).await?,
    };
    if from > to {
        return Err(Failure::Usage(format!("nothing is between {from} and {to}")));
    }
    if !options.no_bodies {
        let of = found.as_ref().map(|found| found.id.uuid());
        refuse_unsigned_purge(&mut snapshot, of, size).await?;
    }
    let figures = match &found {
        Some(found) if from == 1 && !options.no_bodies => Some(figures(log, found, to).await?),
        Some(_) | None => None,
    };
    let scope = found.as_ref().map_or(Scope::All, |found| Scope::Organization(found.id.uuid()));
    let manifest = Manifest {
        form: Manifest::FORM,
        origin: checkpoint.origin().to_owned(),
        log: log_of(checkpoint.origin())?,
        scope,
        from,
        to,
        size: size.unsigned_abs(),
        bodies: !options.no_bodies,
        replay: figures.is_some(),
        created_at: DateTime::<Utc>::from(SystemTime::now())
            .to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    let events = write(snapshot, &manifest, figures.as_ref(), options).await?;
    let failed = |source| unwritten(&options.output, source);
    Ok(Written {
        file: options.output.display().to_string(),
        organization: found.map(|found| format!("{} ({})", found.slug, found.id)),
        from,
        to,
        events,
        checkpoint: manifest.size,
        bytes: fs::metadata(&options.output).map_err(failed)?.len(),
    })
}

/// The newest signed checkpoint, and its size.
async fn newest(snapshot: &mut Snapshot, is_sealed: bool) -> Result<(i64, Checkpoint), Failure> {
    let newest: Option<(i64, String)> = sqlx::query_as(
        "select c.size, c.note from event_log.checkpoint c
          where not $1 or exists (select from event_log.cosignature s where s.size = c.size)
          order by c.size desc limit 1",
    )
    .bind(is_sealed)
    .fetch_optional(snapshot.connection())
    .await?;
    let Some((size, note)) = newest else {
        let which = if is_sealed { "no checkpoint that a witness signed" } else { "no checkpoint" };
        return Err(Failure::Usage(format!(
            "there is {which} yet; a running server (`opscenter serve`) signs one within seconds"
        )));
    };
    let damaged = |_| Failure::Problem(format!("the checkpoint of size {size} is damaged"));
    let note: Note = note.parse().map_err(damaged)?;
    Ok((size, note.text().parse().map_err(damaged)?))
}

/// Bodies that are gone must be accounted for by what the checkpoint proves.
async fn refuse_unsigned_purge(
    snapshot: &mut Snapshot,
    of: Option<uuid::Uuid>,
    size: i64,
) -> Result<(), Failure> {
    match rows::purge_behind(snapshot, of, size).await? {
        None => Ok(()),
        Some(position) => Err(Failure::Usage(format!(
            "a purge was recorded at {position}, behind the checkpoint of size {size} that would \
             prove the bundle; a running server signs it within seconds, and with --sealed a \
             witness has to as well: run it again then"
        ))),
    }
}

/// Which log an origin is one of.
pub(crate) fn log_of(origin: &str) -> Result<uuid::Uuid, Failure> {
    let id = origin.strip_prefix("opscenter/log/").and_then(|rest| rest.split('/').next());
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| Failure::Problem(format!("{origin} is no origin of a log of ours")))
}

async fn figures(log: &EventLog, found: &organization::Found, to: i64) -> Result<Figures, Failure> {
    let aggregations = totals::aggregations(log, Position(to)).await?.into_iter().collect();
    Ok(Figures { aggregations, totals: totals::of(log, found, Position(to)).await? })
}

/// Writes the file beside its place, and puts it there.
async fn write(
    snapshot: Snapshot,
    manifest: &Manifest,
    figures: Option<&Figures>,
    options: &Options,
) -> Result<u64, Failure> {
    let path = &options.output;
    let draft = draft_of(path);
    let written = fill(snapshot, manifest, figures, &draft).await;
    let placed = written.and_then(|events| {
        refuse_existing(options)?;
        place(&draft, path).map_err(|source| unwritten(path, source))?;
        Ok(events)
    });
    if placed.is_err() {
        let _gone = fs::remove_file(&draft);
    }
    placed
}

async fn fill(
    mut snapshot: Snapshot,
    manifest: &Manifest,
    figures: Option<&Figures>,
    draft: &Path,
) -> Result<u64, Failure> {
    let failed = |source| unwritten(draft, source);
    let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(draft).map_err(failed)?);
    let mut writer = Writer::begin(file, manifest).map_err(failed)?;
    if let Some(figures) = figures {
        writer.frame(Kind::Replay, &serde_json::to_vec(figures)?).map_err(failed)?;
    }
    let bar = progress(manifest.to - manifest.from + 1, "positions");
    let log = snapshot.log().clone();
    let mut stream = Stream::begin(&log, manifest, writer, bar).await?;
    match manifest.scope {
        Scope::All => snapshot = stream.everything(snapshot).await?,
        Scope::Organization(tenant) => stream.organization(&mut snapshot, tenant).await?,
    }
    let (file, events) = stream.finish(&mut snapshot).await?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(events)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.draft", std::process::id()));
    path.with_file_name(name)
}

fn place(draft: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn unwritten(path: &Path, source: std::io::Error) -> Failure {
    Failure::Unwritten { path: path.display().to_string(), source }
}
