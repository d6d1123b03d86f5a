//! Where something of a person would be, and whether it is.

use super::Trace;
use crate::Failure;
use data_encoding::{BASE64, HEXLOWER};
use domain::values::UserId;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Row};

/// Places that are known by what they are for. Each counts what is left of one person: their id as
/// text is `$1`, as the database keeps it in keys `$2`.
const PLACES: &[(&str, &str)] = &[
    (
        "event_log.subject_key: the key",
        "select count(*) from event_log.subject_key
          where subject = $2 and wrapped is not null and $1 <> ''",
    ),
    (
        "event_log.subject_vault: what was kept beside the log",
        "select count(*) from event_log.subject_vault where subject = $2 and $1 <> ''",
    ),
    (
        "event_log.claim: the address's stand-in",
        "select count(*) from event_log.claim
          where scope = 'user.email' and holder = $1 and $2::uuid is not null",
    ),
    (
        "event_log.snapshot: kept states",
        "select count(*) from event_log.snapshot
          where stream = 'user/' || $1 and $2::uuid is not null",
    ),
    (
        "read_model.parked: what was set aside",
        "select count(*) from read_model.parked where thing = 'user/' || $1
            and $2::uuid is not null",
    ),
];

/// What is left of a person.
pub(super) async fn of(pool: &PgPool, user_id: UserId) -> Result<Vec<Trace>, Failure> {
    let mut traces = Vec::new();
    for (place, sql) in PLACES {
        // Before a server ran there are no read models, and nothing was set aside by any.
        let table = place.split_once(':').map_or(*place, |(table, _)| table);
        let exists = "select to_regclass($1) is not null";
        if !sqlx::query_scalar::<_, bool>(exists).bind(table).fetch_one(pool).await? {
            continue;
        }
        traces.push(Trace { place: (*place).to_owned(), found: count(pool, sql, user_id).await? });
    }
    // Every generation of a read model that shows people, also one that is kept to go back to.
    // Of a table with every version of its rows, what is shown now: what was shown before is sealed
    // there as it is in the log, and the key says whether it opens.
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "select format('%I.%I', c.table_schema, c.table_name),
                exists (select from information_schema.columns v
                         where (v.table_schema, v.table_name) = (c.table_schema, c.table_name)
                           and v.column_name = 'valid_to')
           from information_schema.columns c
           join information_schema.columns u using (table_schema, table_name)
           join information_schema.tables t using (table_schema, table_name)
          where c.column_name = 'email' and u.column_name = 'user_id'
            and t.table_type = 'BASE TABLE'
          order by 1",
    )
    .fetch_all(pool)
    .await?;
    for (table, has_versions) in tables {
        let now = if has_versions { "and valid_to = 9223372036854775807" } else { "" };
        let sql = format!(
            "select count(*) from {table} where user_id = $1 and $2::uuid is not null
                and (email is not null or name is not null) {now}"
        );
        let found = count(pool, &sql, user_id).await?;
        traces.push(Trace { place: format!("{table}: address and name"), found });
    }
    Ok(traces)
}

async fn count(pool: &PgPool, sql: &str, user_id: UserId) -> Result<i64, Failure> {
    let query = sqlx::query(AssertSqlSafe(sql)).bind(user_id.to_string()).bind(user_id.uuid());
    Ok(query.fetch_one(pool).await?.try_get(0)?)
}

/// Searches every row of every table for texts: as they are, and within bytes, whose text form is
/// hexadecimal. Upper and lower case are not told apart.
pub(super) async fn search(pool: &PgPool, texts: &[String]) -> Result<Vec<Trace>, Failure> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let forms: Vec<String> = texts.iter().flat_map(|text| forms(text)).collect();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname)
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'm') and n.nspname <> 'information_schema'
            and n.nspname not like 'pg\\_%'
          order by 1",
    )
    .fetch_all(pool)
    .await?;
    let mut traces = Vec::new();
    for table in tables {
        let sql = format!(
            "select count(*) from {table} t
              where exists (select from unnest($1::text[]) form
                             where strpos(lower(t::text), form) > 0)"
        );
        let found =
            sqlx::query(AssertSqlSafe(sql)).bind(&forms).fetch_one(pool).await?.try_get(0)?;
        traces.push(Trace { place: table, found });
    }
    Ok(traces)
}

/// A text as it could stand in a row, in lower case: plain, as bytes, and as bytes of base64.
fn forms(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut forms = vec![lower.clone()];
    for bytes in [text.as_bytes(), lower.as_bytes()] {
        let base64 = BASE64.encode(bytes);
        forms.push(HEXLOWER.encode(bytes));
        forms.push(HEXLOWER.encode(base64.trim_end_matches('=').as_bytes()));
    }
    forms.sort();
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_searched_for_as_it_is_and_as_bytes() {
        let forms = forms("Ada");
        for form in ["ada", "416461", "616461", "51575268"] {
            assert!(forms.iter().any(|known| known == form), "{form} in {forms:?}");
        }
    }
}
