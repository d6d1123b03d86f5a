//! Claims against the events that took them: who holds a name, an address, a key or a reference.
//!
//! What is held is hashed with a key of the installation, so a changed hash is found only where the
//! master key is at hand; who holds it and since which command is always compared. The address of
//! an erased person cannot be read any more, and the claim on it may have been let go.

use super::{BEGIN, Finding};
use crate::Failure;
use crate::history::{decode, of_types};
use domain::commerce::purchase::Event as PurchaseEvent;
use domain::identity::api_key::Event as KeyEvent;
use domain::identity::user::Event as UserEvent;
use domain::operations::service::Event as ServiceEvent;
use domain::tenancy::Event as OrganizationEvent;
use domain::{Event, Personal};
use event_log::{EventLog, KeyRing, Opened, Position, Recorded};
use sqlx::postgres::PgPool;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The events that take something, in the words of the log.
const TAKERS: [&str; 5] = [
    "user_invited",
    "api_key_created",
    "organization_created",
    "service_registered",
    "purchase_paid",
];
const PAGE: i64 = 2_000;

/// What an event took.
struct Taken {
    position: i64,
    command_id: Option<Uuid>,
    /// None where it cannot be known: without the master key, or of an erased person.
    value_hash: Option<[u8; 32]>,
    /// Of an erased person: it need not be there any more.
    may_be_gone: bool,
    /// A row of the table says so.
    is_there: bool,
}

type Row = (Uuid, String, Vec<u8>, String, Uuid);

pub(super) async fn check(
    log: &EventLog,
    keys: Option<&KeyRing>,
    end: Position,
) -> Result<Option<Finding>, Failure> {
    // The table first: what is taken meanwhile is in the log by then, and looked up once more.
    let rows = claims(log.pool()).await?;
    let mut taken = taken(log, keys).await?;
    let mut findings = Vec::new();
    for (tenant, scope, value_hash, holder, command_id) in rows {
        let holds = format!("claim says that {holder} holds a {scope}");
        let Some(by) = taken.get_mut(&(scope, holder)) else {
            let problem = format!("{holds}, and no event says so");
            findings.push(Finding::changed(end.0, problem));
            continue;
        };
        let is_second = std::mem::replace(&mut by.is_there, true);
        let wrong = if is_second {
            "and says so twice"
        } else if !tenant.is_nil() {
            "but for an organization alone, where it is the platform's"
        } else if by.command_id.is_some_and(|id| id != command_id) {
            "but since another command than the event here"
        } else if by.value_hash.is_some_and(|hash| hash[..] != value_hash) {
            "but another one than the event here says"
        } else {
            continue;
        };
        findings.push(Finding::changed(by.position, format!("{holds}, {wrong}")));
    }
    for ((scope, holder), by) in taken {
        if by.is_there || by.may_be_gone || by.position > end.0 {
            continue;
        }
        let problem = format!("claim has no row for the {scope} that {holder} took here");
        findings.push(Finding::changed(by.position, problem));
    }
    Ok(findings.into_iter().min_by_key(|finding| finding.position))
}

async fn claims(pool: &PgPool) -> Result<Vec<Row>, Failure> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let sql = "select tenant, scope, value_hash, holder, command_id from event_log.claim";
    let rows = sqlx::query_as(sql).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    Ok(rows)
}

/// What the log says was taken, by scope and holder.
async fn taken(
    log: &EventLog,
    keys: Option<&KeyRing>,
) -> Result<BTreeMap<(String, String), Taken>, Failure> {
    let (mut taken, mut after) = (BTreeMap::new(), Position(0));
    loop {
        let page = of_types(log, &TAKERS, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(taken) };
        after = last.position;
        for recorded in &page {
            if let Some((scope, holder, by)) = taken_by(recorded, keys).await? {
                taken.insert((scope.to_owned(), holder), by);
            }
        }
    }
}

async fn taken_by(
    recorded: &Recorded,
    keys: Option<&KeyRing>,
) -> Result<Option<(&'static str, String, Taken)>, Failure> {
    let mut by = Taken {
        position: recorded.position.0,
        command_id: recorded.causation,
        value_hash: None,
        may_be_gone: false,
        is_there: false,
    };
    let event = decode(recorded)?;
    let (scope, holder, value) = if let Event::User(UserEvent::UserInvited(it)) = event {
        let opened = match (&it.email, keys) {
            (Personal::Sealed(sealed), Some(keys)) => {
                // Another finding tells of a key that does not open it.
                keys.unseal(Uuid::nil(), it.user_id.uuid(), sealed).await.ok()
            }
            (Personal::Sealed(_) | Personal::Clear(_) | Personal::Erased, _) => None,
        };
        by.may_be_gone = keys.is_none() || matches!(opened, Some(Opened::Erased));
        let value = if let Some(Opened::Clear(text)) = opened { Some(text) } else { None };
        ("user.email", it.user_id.to_string(), value)
    } else if let Event::ApiKey(KeyEvent::ApiKeyCreated(it)) = event {
        ("api_key.public_part", it.api_key_id.to_string(), Some(it.public_part.into_bytes()))
    } else if let Event::Organization(OrganizationEvent::OrganizationCreated(it)) = event {
        let slug = it.slug.as_str().as_bytes().to_vec();
        ("organization.slug", it.organization_id.to_string(), Some(slug))
    } else if let Event::Service(ServiceEvent::ServiceRegistered(it)) = event {
        let name = it.name.as_str().as_bytes().to_vec();
        ("service.name", it.service_id.to_string(), Some(name))
    } else if let Event::Purchase(PurchaseEvent::PurchasePaid(it)) = event {
        let reference = it.reference.as_str().as_bytes().to_vec();
        ("payment.reference", it.purchase_id.to_string(), Some(reference))
    } else {
        return Ok(None);
    };
    by.value_hash = keys.zip(value).map(|(keys, value)| keys.blind(scope, &value));
    Ok(Some((scope, holder, by)))
}
