//! Finding an organization by its id or by the short name that people type.

use crate::history::{decode, stream_page};
use crate::{Failure, session};
use domain::tenancy::Event as Tenancy;
use domain::tenancy::organization::OrganizationCreated;
use domain::values::{Code, OrganizationId};
use event_log::{EventLog, Position, Recorded};

/// How many names are listed when none fits.
const LISTED_MAX: usize = 12;

/// An organization that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) id: OrganizationId,
    /// Its short name.
    pub(crate) slug: Code,
}

/// Finds the organization that existed at a position under an id or a slug.
///
/// # Errors
/// [`Failure::Usage`] when there was none.
pub(crate) async fn find(log: &EventLog, name: &str, at: Position) -> Result<Found, Failure> {
    if let Ok(id) = name.parse::<OrganizationId>() {
        let stream = session::stream("organization", &id.to_string())?;
        let first = stream_page(log, &stream, 0, at, 1).await?;
        let created = first.first().map(created).transpose()?.flatten();
        return created.map(|created| Found { id, slug: created.slug }).ok_or_else(|| {
            Failure::Usage(format!("there was no organization {id} at position {at}"))
        });
    }
    let mut slugs = Vec::new();
    for recorded in founded(log, at).await? {
        let Some(created) = created(&recorded)? else { continue };
        if created.slug.as_str() == name {
            return Ok(Found { id: created.organization_id, slug: created.slug });
        }
        slugs.push(created.slug.to_string());
    }
    Err(Failure::Usage(none_fits(name, at, &slugs)))
}

fn none_fits(name: &str, at: Position, slugs: &[String]) -> String {
    if slugs.is_empty() {
        return format!("there was no organization at all at position {at}");
    }
    let listed = slugs.iter().take(LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if slugs.len() > LISTED_MAX { ", …" } else { "" };
    format!("there was no organization {name:?} at position {at}; there were {listed}{more}")
}

/// The first event of every organization; each stream has an index of its own.
async fn founded(log: &EventLog, at: Position) -> Result<Vec<Recorded>, Failure> {
    let positions: Vec<i64> = sqlx::query_scalar(
        "select position from event_log.log
          where stream >= 'organization/' and stream < 'organization0'
            and stream_version = 1 and position <= $1
          order by position",
    )
    .bind(at)
    .fetch_all(log.pool())
    .await?;
    crate::history::at_positions(log, &positions).await
}

fn created(recorded: &Recorded) -> Result<Option<OrganizationCreated>, Failure> {
    let event = Tenancy::try_from(decode(recorded)?);
    Ok(if let Ok(Tenancy::OrganizationCreated(created)) = event { Some(created) } else { None })
}
