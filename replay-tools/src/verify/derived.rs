//! The tables beside the log, compared with what follows from it: stream heads, receipts, usage
//! identities, tags, claims, keys, and where positions have their place.
//!
//! Done once the log itself is known to be whole. Each comparison is one statement, which sees log
//! and table of one moment, so that it holds beside a running server as well. The lowest position
//! that any of them names is told. What cannot be told from the log is listed, column by column, in
//! `docs/decisions/0047`.

mod claims;
mod keys;
mod usage;

use super::Finding;
use crate::Failure;
use event_log::Position;
use installation::Installation;
use sqlx::postgres::{PgConnection, PgPool};

/// A comparison may take as long as it needs, and has room to sort.
const BEGIN: &str = "begin; set local statement_timeout = 0; set local work_mem = '64MB'";

/// The last event of each stream, counted again.
const STREAM_HEAD: &str = "
select coalesce(l.position, h.position), 'stream_head '
       || case when h.stream is null
                    then 'has no row for ' || l.stream || ', whose last event is here'
               when l.stream is null then 'has a row for ' || h.stream || ', which has no events'
               else 'has ' || l.stream || ' at version ' || h.version || ' and position '
                    || h.position || '; its last event is here, at version ' || l.version end
  from (select stream, max(stream_version) as version, max(position) as position
          from event_log.log where stream is not null group by stream) l
  full join event_log.stream_head h on h.stream = l.stream
 where l.stream is null or h.stream is null
    or h.version <> l.version or h.position <> l.position
union all
select max(position), 'stream_head has ' || count(*) || ' rows for ' || stream
  from event_log.stream_head group by stream having count(*) > 1
 order by 1 limit 1";

/// Receipts against the events they tell of. A denial is recorded under an id of its own, and it
/// follows from the command that was denied. Commands on streams are the platform's, reports of
/// usage their organization's.
const RECEIPTS: &str = "
select coalesce((select l.position from event_log.log l where l.event_id = r.event_ids[1] limit 1),
                r.first),
       'the receipt of command ' || r.command_id || ' ' || case
         when e.ids is distinct from r.event_ids then 'tells of other events than positions '
              || r.first || ' to ' || r.last || ' hold'
         when not e.timely then 'has another time than its events'
         when not e.owned then 'is of another tenant than its events'
         else 'has another id than its events say' end
  from event_log.command_receipt r
  cross join lateral (
       select array_agg(l.event_id order by l.position) as ids,
              bool_and(l.recorded_at = r.recorded_at) as timely,
              bool_and(r.tenant = case when l.stream is null then l.tenant
                       else '00000000-0000-0000-0000-000000000000'::uuid end) as owned,
              bool_and(l.causation is null or l.causation = r.command_id
                       or l.type in ('command_denied', 'command_refused')) as caused
         from event_log.log l where l.position between r.first and r.last) e
 where cardinality(r.event_ids) > 0
   and (e.ids is distinct from r.event_ids or not e.timely or not e.owned or not e.caused)
 order by 1 limit 1";

/// Receipts of commands that led to nothing: only where and when can be compared.
const EMPTY_RECEIPTS: &str = "
select least(r.first, r.last), 'the receipt of command ' || r.command_id
       || ', which led to no events, does not stand where and when the log was then'
  from event_log.command_receipt r
  left join event_log.log l on l.position = r.first
 where cardinality(r.event_ids) = 0
   and (r.first <> r.last or r.first < 0 or (r.first > 0 and l.position is null)
        or r.recorded_at < l.recorded_at)
 order by 1 limit 1";

/// Every event of a stream came with a command, and with one only.
const RECEIVED_ONCE: &str = "
with told as materialized (
     select r.command_id, u.id from event_log.command_receipt r, unnest(r.event_ids) as u (id))
select l.position, 'no receipt tells of the event here; one was removed or changed'
  from event_log.log l left join told t on t.id = l.event_id
 where l.stream is not null and t.id is null
union all
select l.position, 'more than one receipt tells of the event here'
  from (select id from told group by id having count(*) > 1) d
  join event_log.log l on l.event_id = d.id
union all
select min(r.first), 'command ' || r.command_id || ' has ' || count(*) || ' receipts'
  from event_log.command_receipt r group by r.command_id having count(*) > 1
 order by 1 limit 1";

/// Usage records against their identities: the source's name and id, the content, the place.
const USAGE: &str = "
with known as materialized (
     select i.position, i.source_id, i.usage_id, i.content, s.tenant, s.source
       from event_log.usage_identity i left join event_log.usage_source s on s.id = i.source_id),
told as materialized (
     select l.position, l.tenant, b.body ->> 'source' as source, b.body ->> 'usage_id' as usage_id,
            encode(substr(sha256(int8send((extract(epoch from l.occurred_at) * 1000000)::bigint)
                                 || l.payload), 1, 16), 'hex')::uuid as content,
            l.payload_commit is not null as is_elsewhere
       from event_log.log l
       cross join lateral (select case when l.payload_commit is null
                                       then convert_from(l.payload, 'UTF8')::json end as body) b
      where l.type = 'usage_recorded')
select coalesce(t.position, k.position), case
         when k.position is null then 'usage_identity does not know the usage record here'
         when t.position is null then 'usage_identity tells of a usage record where there is none'
         when k.tenant is null then 'the source of the usage record here is not in usage_source'
         when (k.tenant, k.source) is distinct from (t.tenant, t.source)
              then 'usage_source tells of another source than the usage record here'
         when k.usage_id <> t.usage_id then 'usage_identity has another id for the record here'
         else 'usage_identity has other content for the usage record here' end
  from told t full join known k on k.position = t.position
 where t.position is null or k.position is null
    or not t.is_elsewhere and (k.tenant, k.source, k.usage_id, k.content)
       is distinct from (t.tenant, t.source, t.usage_id, t.content)
union all
select position, 'usage_identity has ' || count(*) || ' rows for the usage record here'
  from known group by position having count(*) > 1
 order by 1 limit 1";

/// Nothing writes tags: a row can only have been added.
const TAGS: &str = "
select position, 'tag has a row here, and nothing that is recorded has tags'
  from event_log.tag order by 1 limit 1";

/// Where positions have their place: the rule, the list and the partitions that there are.
const PARTITIONS: &str = "
with rule as (select max(value)::numeric as rows from event_log.setting
               where name = 'partition_rows' having count(*) = 1),
attached as (
     select m[1]::bigint as first, m[2]::bigint - 1 as last
       from pg_inherits i
       join pg_class c on c.oid = i.inhrelid
       cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid),
                  'FROM \\(''?(-?\\d+)''?\\) TO \\(''?(-?\\d+)''?\\)') as m
      where i.inhparent = 'event_log.log'::regclass)
select coalesce(a.first, p.first),
       'setting, log_partition and the partitions of the log do not say the same from here on'
  from attached a
  full join event_log.log_partition p on p.first = a.first and p.last = a.last
  left join rule r on true
 where a.first is null or p.first is null or r.rows is null
    or p.first <> p.number * r.rows + 1 or p.last <> (p.number + 1) * r.rows
union all
select min(first), 'log_partition has partition ' || number || ' twice'
  from event_log.log_partition group by number having count(*) > 1
union all
select 1, 'setting has a row that nothing put there: ' || name
  from event_log.setting where name <> 'partition_rows'
 order by 1 limit 1";

const COMPARISONS: [&str; 7] =
    [STREAM_HEAD, RECEIPTS, EMPTY_RECEIPTS, RECEIVED_ONCE, USAGE, TAGS, PARTITIONS];

/// The finding with the lowest position, if anything beside the log is not what follows from it.
/// What has no place in the log is told at its end.
pub(super) async fn check(
    installation: &Installation,
    end: Position,
) -> Result<Option<Finding>, Failure> {
    let pool = installation.pool();
    let mut findings = Vec::new();
    for sql in COMPARISONS {
        findings.extend(compare(pool, sql, end).await?);
    }
    let keys = installation.keys().ok();
    findings.extend(usage::check(installation.log()).await?);
    findings.extend(claims::check(installation.log(), keys, end).await?);
    findings.extend(keys::check(pool, keys).await?);
    Ok(findings.into_iter().min_by_key(|finding| finding.position))
}

async fn compare(
    pool: &PgPool,
    sql: &'static str,
    end: Position,
) -> Result<Option<Finding>, Failure> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let connection: &mut PgConnection = &mut transaction;
    let found: Option<(Option<i64>, Option<String>)> =
        sqlx::query_as(sql).fetch_optional(connection).await?;
    transaction.rollback().await?;
    Ok(found.map(|(position, problem)| {
        let unreadable = || "a row beside the log cannot be read".to_owned();
        Finding::changed(position.unwrap_or(end.0), problem.unwrap_or_else(unreadable))
    }))
}
