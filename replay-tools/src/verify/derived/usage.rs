//! Identities of usage records whose bodies lie in archives: what the other comparison reads from
//! the table is read through the archive here, page by page.

use super::Finding;
use crate::Failure;
use crate::history::{Filter, Scan, decode};
use domain::Event;
use domain::metering::Event as UsageEvent;
use event_log::verify::micros;
use event_log::{EventLog, Position, Recorded};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPool;
use std::collections::HashMap;
use uuid::Uuid;

const ARCHIVED: &str = "
select p.first, p.last from event_log.log_partition p join event_log.archive a using (number)
 where a.archived_at is not null order by 1";

const KNOWN: &str = "
select u.position, i.position, i.content
  from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[])
           as u (position, tenant, source, usage_id)
  join event_log.usage_source s on s.tenant = u.tenant and s.source = u.source
  join event_log.usage_identity i on i.source_id = s.id and i.usage_id = u.usage_id";

/// What an event says of its identity.
struct Told {
    position: i64,
    tenant: Uuid,
    source: String,
    usage_id: String,
    content: Uuid,
}

pub(super) async fn check(log: &EventLog) -> Result<Option<Finding>, Failure> {
    let ranges: Vec<(i64, i64)> = sqlx::query_as(ARCHIVED).fetch_all(log.pool()).await?;
    for (first, last) in ranges {
        let filter = Filter { types: vec!["usage_recorded".to_owned()], ..Filter::default() };
        let mut scan = Scan::new(log, filter, Position(first - 1), Position(last));
        while let Some(page) = scan.next().await? {
            let told = page.iter().filter_map(|it| told(it).transpose());
            let told: Vec<Told> = told.collect::<Result<_, _>>()?;
            if let Some(finding) = compare(log.pool(), &told).await? {
                return Ok(Some(finding));
            }
        }
    }
    Ok(None)
}

fn told(recorded: &Recorded) -> Result<Option<Told>, Failure> {
    let Event::Usage(UsageEvent::UsageRecorded(usage)) = decode(recorded)? else {
        return Ok(None);
    };
    let mut hasher = Sha256::new();
    hasher.update(micros(recorded.occurred_at).to_be_bytes());
    hasher.update(&recorded.payload);
    let mut content = [0; 16];
    content.copy_from_slice(&hasher.finalize()[..16]);
    Ok(Some(Told {
        position: recorded.position.0,
        tenant: recorded.tenant,
        source: usage.source.to_string(),
        usage_id: usage.usage_id.to_string(),
        content: Uuid::from_bytes(content),
    }))
}

async fn compare(pool: &PgPool, told: &[Told]) -> Result<Option<Finding>, Failure> {
    let known: Vec<(i64, i64, Uuid)> = sqlx::query_as(KNOWN)
        .bind(told.iter().map(|it| it.position).collect::<Vec<_>>())
        .bind(told.iter().map(|it| it.tenant).collect::<Vec<_>>())
        .bind(told.iter().map(|it| it.source.as_str()).collect::<Vec<_>>())
        .bind(told.iter().map(|it| it.usage_id.as_str()).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    let known: HashMap<i64, (i64, Uuid)> =
        known.into_iter().map(|(at, position, content)| (at, (position, content))).collect();
    let wrong = |it: &Told| match known.get(&it.position) {
        None => Some("usage_identity does not know the usage record here"),
        Some((position, _)) if *position != it.position => {
            Some("usage_identity has another place for the usage record here")
        }
        Some((_, content)) if *content != it.content => {
            Some("usage_identity has other content for the usage record here")
        }
        Some(_) => None,
    };
    Ok(told.iter().find_map(|it| wrong(it).map(|what| Finding::changed(it.position, what))))
}
