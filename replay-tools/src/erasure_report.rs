//! `erasure-report`: who was erased, by whom, on which command, what is left of them, and whether
//! the proofs hold without it.
//!
//! What a person's data was, nobody can know any more. So the report looks at the places where it
//! would be, and searches every column of every table for texts that whoever asks still has on
//! paper. What it finds that should not be there is an exit code of 1.

mod print;
mod traces;

use crate::history::{Filter, Scan, decode, settle};
use crate::moment::printed;
use crate::output::Out;
use crate::{Failure, session, verify};
use clap::Args;
use domain::Personal;
use domain::identity::user::Event as UserEvent;
use domain::values::UserId;
use event_log::{EventLog, KeyRing, Opened, Position, Recorded};
use installation::{Installation, Place};
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeMap;
use uuid::Uuid;

/// About whom, and what to search for.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = "\
Examples:
  opscenter-replay erasure-report
  opscenter-replay erasure-report usr_01… --search ada@example.org --search 'Ada Lovelace'
  opscenter-replay erasure-report --json")]
pub(crate) struct Options {
    /// Only this user; without it, everybody whose erasure was asked for
    user: Option<UserId>,
    /// A text that must be nowhere, in clear or in the bytes of a body; may be given several times
    #[arg(long, value_name = "TEXT")]
    search: Vec<String>,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// A step of an erasure, as the log has it.
#[derive(Clone, Debug, Serialize)]
struct Step {
    position: i64,
    recorded_at: String,
    actor: String,
    command_id: Option<Uuid>,
}

/// A place and how often something is found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Trace {
    place: String,
    found: i64,
}

/// One erasure.
#[derive(Clone, Debug, Serialize)]
struct Erasure {
    user_id: UserId,
    ground: &'static str,
    reference: Option<String>,
    requested: Step,
    /// None while it was begun and not finished.
    erased: Option<Step>,
    /// Sealed fields in the log that nobody can read any more.
    unreadable: u64,
    traces: Vec<Trace>,
}

/// Everything that the report says.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    erasures: Vec<Erasure>,
    /// Every table, and in how many of its rows a text that was searched for stands.
    searched: Vec<Trace>,
    head: i64,
    proofs_hold: bool,
    problem: Option<String>,
}

/// Prints the report.
///
/// # Errors
/// [`Failure::Problem`] when a trace was found, an erasure is unfinished, or a proof does not hold.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let result = answer(&installation, options, out).await;
    installation.close().await;
    result
}

async fn answer(
    installation: &Installation,
    options: &Options,
    out: Out<'_>,
) -> Result<(), Failure> {
    let log = installation.log();
    let head = log.head().await?;
    let mut erasures = requested(log, options.user, head).await?;
    if let (Some(user_id), true) = (options.user, erasures.is_empty()) {
        return Err(Failure::Usage(format!("nobody ever asked for {user_id} to be erased")));
    }
    count_unreadable(installation, &mut erasures, head).await?;
    for erasure in &mut erasures {
        erasure.traces.extend(traces::of(log.pool(), erasure.user_id).await?);
    }
    let searched = traces::search(log.pool(), &options.search).await?;
    let problem = verify::first_problem(installation).await?;
    settle(log).await;
    let traced = erasures.iter().any(|it| it.erased.is_none() || found(&it.traces) > 0);
    let ok = !traced && found(&searched) == 0 && problem.is_none();
    let proofs_hold = problem.is_none();
    let report = Report { ok, erasures, searched, head: head.0, proofs_hold, problem };
    print::report(&report, options.json, out)?;
    match ok {
        true => Ok(()),
        false => Err(Failure::Problem(print::what_is_wrong(&report))),
    }
}

fn found(traces: &[Trace]) -> i64 {
    traces.iter().map(|trace| trace.found).sum()
}

/// Every erasure that was asked for up to a position.
async fn requested(
    log: &EventLog,
    user: Option<UserId>,
    head: Position,
) -> Result<Vec<Erasure>, Failure> {
    let filter = Filter {
        types: ["user_erasure_requested", "user_erased"].map(str::to_owned).into(),
        stream: user.map(|user_id| format!("user/{user_id}")),
        ..Filter::default()
    };
    let mut erasures: BTreeMap<UserId, Erasure> = BTreeMap::new();
    let mut scan = Scan::new(log, filter, Position::START, head);
    while let Some(page) = scan.next().await? {
        for recorded in &page {
            let Ok(event) = UserEvent::try_from(decode(recorded)?) else { continue };
            match event {
                UserEvent::UserErasureRequested(request) => {
                    let erasure = Erasure {
                        user_id: request.user_id,
                        ground: request.ground.as_str(),
                        reference: request.reference.map(|code| code.to_string()),
                        requested: step(recorded),
                        erased: None,
                        unreadable: 0,
                        traces: Vec::new(),
                    };
                    erasures.insert(request.user_id, erasure);
                }
                UserEvent::UserErased(done) => {
                    if let Some(erasure) = erasures.get_mut(&done.user_id) {
                        erasure.erased = Some(step(recorded));
                    }
                }
                UserEvent::UserInvited(_)
                | UserEvent::UserActivated(_)
                | UserEvent::UserSuspended(_)
                | UserEvent::UserReactivated(_)
                | UserEvent::UserDeactivated(_)
                | UserEvent::UserRoleAssigned(_)
                | UserEvent::UserRoleRemoved(_) => {}
            }
        }
    }
    Ok(erasures.into_values().collect())
}

fn step(recorded: &Recorded) -> Step {
    Step {
        position: recorded.position.0,
        recorded_at: printed(recorded.recorded_at),
        actor: recorded.actor.clone(),
        command_id: recorded.causation,
    }
}

/// Tries to open every field that was sealed for them; what opens is a trace.
async fn count_unreadable(
    installation: &Installation,
    erasures: &mut [Erasure],
    head: Position,
) -> Result<(), Failure> {
    // Without the master key nothing opens, which proves nothing: the keys' rows are looked at too.
    let keys = installation.keys().ok();
    let subjects: Vec<Uuid> = erasures.iter().map(|erasure| erasure.user_id.uuid()).collect();
    let rows = sqlx::query(
        "select position from event_log.log where subjects && $1 and position <= $2 order by 1",
    )
    .bind(&subjects)
    .bind(head)
    .fetch_all(installation.pool())
    .await?;
    let positions: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut opened: BTreeMap<Uuid, i64> = BTreeMap::new();
    for recorded in crate::history::at_positions(installation.log(), &positions).await? {
        let mut event = decode(&recorded)?;
        for (subject, field) in event.personal_fields() {
            let Some(erasure) = erasures.iter_mut().find(|it| it.user_id.uuid() == subject) else {
                continue;
            };
            match opens(keys, subject, field).await? {
                true => *opened.entry(subject).or_default() += 1,
                false => erasure.unreadable += 1,
            }
        }
    }
    for erasure in erasures {
        let found = opened.get(&erasure.user_id.uuid()).copied().unwrap_or_default();
        let place = "event_log.log: sealed fields that open".to_owned();
        erasure.traces.push(Trace { place, found });
    }
    Ok(())
}

async fn opens(keys: Option<&KeyRing>, subject: Uuid, field: &Personal) -> Result<bool, Failure> {
    let (Personal::Sealed(sealed), Some(keys)) = (field, keys) else { return Ok(false) };
    match keys.unseal(Uuid::nil(), subject, sealed).await {
        Ok(Opened::Clear(_)) => Ok(true),
        Ok(Opened::Erased) => Ok(false),
        Err(error) => Err(Failure::Problem(error.to_string())),
    }
}
