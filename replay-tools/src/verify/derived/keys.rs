//! Keys of persons against the events that were sealed with them: none may be missing, and where
//! the master key is at hand, each must open.
//!
//! A key that no event names is no sign of anything: it is made before the event that needs it, and
//! that event may never have come.

use super::{BEGIN, Finding};
use crate::Failure;
use event_log::KeyRing;
use futures_util::TryStreamExt;
use sqlx::postgres::PgPool;
use uuid::Uuid;

/// Every person whom an event names, where first, and their key. People belong to the platform.
const KEYS: &str = "
select s.position, s.subject, k.subject is not null, k.wrapped,
       (k.wrapped is null) = (k.erased_at is not null), s.keys
  from (select u.subject, min(l.position) as position,
               (select count(*) from event_log.subject_key c
                 where c.tenant = '00000000-0000-0000-0000-000000000000'
                   and c.subject = u.subject) as keys
          from event_log.log l cross join lateral unnest(l.subjects) as u (subject)
         group by u.subject) s
  left join event_log.subject_key k on k.subject = s.subject
                                   and k.tenant = '00000000-0000-0000-0000-000000000000'
 order by s.position";

type Row = (i64, Uuid, bool, Option<Vec<u8>>, bool, i64);

pub(super) async fn check(
    pool: &PgPool,
    keys: Option<&KeyRing>,
) -> Result<Option<Finding>, Failure> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let mut found = None;
    {
        let mut rows = sqlx::query_as::<_, Row>(KEYS).fetch(&mut *transaction);
        while let Some((position, subject, is_there, wrapped, is_one_or_other, count)) =
            rows.try_next().await?
        {
            let opens = || match (keys, &wrapped) {
                (Some(keys), Some(wrapped)) => keys.fits(Uuid::nil(), subject, wrapped),
                (None, _) | (_, None) => true,
            };
            let wrong = if !is_there {
                "is not in subject_key; it was removed or changed"
            } else if count > 1 {
                "is in subject_key more than once"
            } else if !is_one_or_other {
                "is neither there nor erased"
            } else if !opens() {
                "is not the one it was sealed with; it was changed"
            } else {
                continue;
            };
            let problem = format!("the key of {subject}, whose data is sealed here, {wrong}");
            found = Some(Finding::changed(position, problem));
            break;
        }
    }
    transaction.rollback().await?;
    Ok(found)
}
