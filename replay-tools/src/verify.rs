//! `verify`: recomputes every commitment, every event hash and the chain, and checks that batches
//! tile the log, positions and stream versions are dense and the log's time moves forward.
//!
//! Rows stream through: reading and hashing go on side by side, in the memory of a few pages (and
//! one number for every stream). What is wrong first is named by position. A log whose tail was
//! dropped is whole in itself; a chain noted before, outside the database, finds it.

mod bundle;
mod derived;
mod describe;
mod evidence;
mod file;
mod proof;
pub(crate) mod tables;
mod tree;
mod walk;

use crate::output::{Out, progress, thousands};
use crate::snapshot::Snapshot;
use crate::{Failure, session};
use clap::Args;
use data_encoding::HEXLOWER;
use event_log::verify::{Hash, RawBatch, RawRow, Verifier};
use indicatif::ProgressBar;
use installation::Place;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc;
use walk::{Expected, Walk};

/// How many batches' worth of reading may be ahead of the hashing, counted in pages.
pub(crate) const PAGES_AHEAD: usize = 3;

/// What to verify, and against what.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = "\
Examples:
  opscenter-replay verify
  opscenter-replay events --raw > log.jsonl        # on the machine with the database
  opscenter-replay verify --from log.jsonl         # on any other machine
  opscenter-replay verify acme.bundle --policy policy.txt            # anywhere, without network
  opscenter-replay verify proof.txt --policy policy.txt              # of one event, as from the API
  opscenter-replay verify --expect-head 19412 --expect-chain 3fe1…   # noted last month")]
pub(crate) struct Options {
    /// Verify a bundle that `export` wrote, or the proof of an event from the API, without database
    /// and network; - is standard input
    #[arg(value_name = "FILE", requires = "policy",
          conflicts_with_all = ["from", "expect_head", "expect_chain"])]
    pub(crate) file: Option<PathBuf>,
    /// Whose signatures are taken for it: a file of `log`, `witness`, `group`, `quorum` lines
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) policy: Option<PathBuf>,
    /// Verify a file that `events --raw` wrote instead of the database; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// A head noted before: the log must reach it
    #[arg(long, value_name = "POSITION")]
    pub(crate) expect_head: Option<i64>,
    /// The chain noted with that head, or of the whole log when no head is given
    #[arg(long, value_name = "HEX", value_parser = chain_of)]
    pub(crate) expect_chain: Option<Hash>,
    /// Leave out the tables beside the log: what follows from it is not compared with it
    #[arg(long)]
    pub(crate) log_only: bool,
    #[command(flatten)]
    pub(crate) signed: tree::Options,
    /// Answer as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn chain_of(text: &str) -> Result<Hash, String> {
    let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is no chain; it has 64 hexadecimal digits"))
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What kind of thing.
    pub(crate) kind: Kind,
    /// Where.
    pub(crate) position: i64,
    /// What, in words.
    pub(crate) problem: String,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something is not what was recorded, or does not follow from it.
    Changed,
    /// Something is not signed by whom it should be.
    Unsigned,
    /// The log ends before what was signed or noted.
    Missing,
}

impl Kind {
    const fn exit_code(self) -> u8 {
        match self {
            Self::Changed => 20,
            Self::Unsigned => 21,
            Self::Missing => 22,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unsigned => "unsigned",
            Self::Missing => "missing",
        }
    }
}

impl Finding {
    /// That something was changed.
    pub(crate) fn changed(position: i64, problem: impl Into<String>) -> Self {
        Self { kind: Kind::Changed, position, problem: problem.into() }
    }

    /// That the log ends too early.
    fn missing(position: i64, problem: impl Into<String>) -> Self {
        Self { kind: Kind::Missing, position, problem: problem.into() }
    }
}

/// A batch with the rows it claims.
pub(crate) type Group = (RawBatch, Vec<RawRow>);

/// What a reader hands over: groups to check, or the word that there is something wrong already.
pub(crate) enum Page {
    Groups(Vec<Group>),
    Finding(Finding),
}

/// How far the tables beside the log were compared with what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    LeftOut,
    WithoutKeys,
    Compared,
}

impl Beside {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LeftOut => "left_out",
            Self::WithoutKeys => "without_keys",
            Self::Compared => "compared",
        }
    }

    const fn in_words(self) -> Option<&'static str> {
        match self {
            Self::LeftOut => None,
            Self::WithoutKeys => Some(
                "The tables beside it are what follows from it, as far as can be told without a \
                 master key that fits.",
            ),
            Self::Compared => Some("The tables beside it are what follows from it."),
        }
    }
}

/// Verifies and prints what was found.
///
/// # Errors
/// [`Failure::Problem`] when the log is not what was recorded.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    if let (Some(path), Some(policy)) = (&options.file, &options.policy) {
        return evidence::run(path, policy, options.json, out).await;
    }
    let expected = Expected { head: options.expect_head, chain: options.expect_chain };
    let started = Instant::now();
    let (walk, found) = match &options.from {
        Some(path) => {
            let (sender, pages) = mpsc::channel(PAGES_AHEAD);
            let path = path.clone();
            let reader = tokio::task::spawn_blocking(move || file::read(&path, &sender));
            let bar = progress(-1, "events");
            conclude(check(pages, expected, bar).await?, reader).await?
        }
        None => {
            let installation = session::open(place).await?;
            let result = verify_all(&installation, expected, options).await;
            installation.close().await;
            result?
        }
    };
    report(options, &walk, found, started, out)
}

/// The first thing that is wrong with the log of an installation, in words.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn first_problem(
    installation: &installation::Installation,
) -> Result<Option<String>, Failure> {
    let expected = Expected { head: None, chain: None };
    let (_, found) = verify_tables(installation, expected).await?;
    Ok(found.map(|finding| format!("position {}: {}", finding.position, finding.problem)))
}

/// First the log, then what was signed of it and the tables that follow from a log that is whole.
async fn verify_all(
    installation: &installation::Installation,
    expected: Expected,
    options: &Options,
) -> Result<(Walk, Option<Finding>), Failure> {
    // Before the log, which only grows beyond what was signed.
    let known = match options.log_only {
        true => None,
        false => Some(tree::Known::gather(installation.data_dir(), &options.signed)?),
    };
    let (mut walk, found) = verify_tables(installation, expected).await?;
    let Some(known) = known.filter(|_| found.is_none()) else { return Ok((walk, found)) };
    let end = walk.verifier.position();
    let (looked, mut lowest) = tree::check(installation.pool(), &known).await?;
    walk.tree = Some(looked);
    lowest.offer(derived::check(installation, end).await?);
    let has_keys = installation.keys().is_ok();
    walk.beside = if has_keys { Beside::Compared } else { Beside::WithoutKeys };
    Ok((walk, lowest.found()))
}

async fn verify_tables(
    installation: &installation::Installation,
    expected: Expected,
) -> Result<(Walk, Option<Finding>), Failure> {
    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
    let mut snapshot = Snapshot::take(installation.log()).await?;
    let bounds = tables::Bounds::look(&mut snapshot).await?;
    let bar = progress(bounds.head, "events");
    let reader = tokio::spawn(async move { tables::read(&mut snapshot, bounds, 0, &sender).await });
    conclude(check(pages, expected, bar).await?, reader).await
}

/// What the reader failed at matters only when nothing was found before.
async fn conclude(
    (walk, found): (Walk, Option<Finding>),
    reader: tokio::task::JoinHandle<Result<(), Failure>>,
) -> Result<(Walk, Option<Finding>), Failure> {
    let read = reader
        .await
        .map_err(|error| Failure::Problem(format!("reading the log broke off: {error}")))?;
    if found.is_none() {
        read?;
    }
    let found = found.or_else(|| walk.compare_end());
    Ok((walk, found))
}

/// Hashes on a thread of its own what the reader hands over.
async fn check(
    mut pages: mpsc::Receiver<Page>,
    expected: Expected,
    bar: ProgressBar,
) -> Result<(Walk, Option<Finding>), Failure> {
    let hashing = tokio::task::spawn_blocking(move || {
        let (verifier, beside) = (Verifier::new(), Beside::LeftOut);
        let mut walk = Walk { verifier, batches: 0, expected, beside, tree: None };
        while let Some(page) = pages.blocking_recv() {
            let found = match page {
                Page::Finding(finding) => Some(finding),
                Page::Groups(groups) => groups.iter().find_map(|group| walk.take(group)),
            };
            bar.set_position(u64::try_from(walk.verifier.position().0).unwrap_or_default());
            if found.is_some() {
                bar.abandon();
                return (walk, found);
            }
        }
        bar.finish_and_clear();
        (walk, None)
    });
    hashing.await.map_err(|error| Failure::Problem(format!("hashing broke off: {error}")))
}

fn report(
    options: &Options,
    walk: &Walk,
    found: Option<Finding>,
    started: Instant,
    out: Out<'_>,
) -> Result<(), Failure> {
    let head = walk.verifier.position().0;
    let events = u64::try_from(head).unwrap_or_default();
    let micros = started.elapsed().as_micros().max(1);
    let rate = u64::try_from(u128::from(events) * 1_000_000 / micros).unwrap_or(u64::MAX);
    let chain = HEXLOWER.encode(&walk.verifier.chain());
    let purged = walk.verifier.purged().covered();
    if options.json {
        let mut answer = serde_json::json!({
            "ok": found.is_none(),
            "events": events,
            "batches": walk.batches,
            "head": head,
            "chain": chain,
            "purged": purged,
            "beside": walk.beside.as_str(),
            "tree": walk.tree,
            "events_per_second": rate,
        });
        if let Some(finding) = &found {
            answer["first_bad_position"] = finding.position.into();
            answer["kind"] = finding.kind.as_str().into();
            answer["problem"] = finding.problem.clone().into();
        }
        writeln!(out, "{answer}")?;
    } else {
        writeln!(out, "events   {}", thousands(events))?;
        writeln!(out, "batches  {}", thousands(walk.batches))?;
        writeln!(out, "head     {head}")?;
        writeln!(out, "chain    {chain}")?;
        if purged > 0 {
            writeln!(out, "purged   {} bodies, as recorded", thousands(purged))?;
        }
        writeln!(out, "speed    {} events/s", thousands(rate))?;
    }
    match found {
        None if options.json => Ok(()),
        None => {
            let whole = if purged > 0 { "whole with authorised gaps" } else { "whole" };
            writeln!(
                out,
                "The log is {whole}: every hash, the chain, positions and versions are as recorded."
            )?;
            if let Some(words) = walk.beside.in_words() {
                writeln!(out, "{words}")?;
            }
            let tree = walk.tree.as_ref().and_then(tree::Looked::in_words);
            tree.map_or(Ok(()), |words| Ok(writeln!(out, "\n{words}")?))
        }
        Some(Finding { kind, position, problem }) => Err(Failure::Verdict {
            code: kind.exit_code(),
            what: format!(
                "position {position}: {problem}; the log before {} is whole in itself",
                head + 1
            ),
        }),
    }
}
