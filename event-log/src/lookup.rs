//! Looking things up across streams: all streams of a kind, and who holds a claim.

use crate::read::{ReadError, recorded};
use crate::{EventLog, Position, Recorded, StreamId};
use uuid::Uuid;

impl EventLog {
    /// Every event of every stream of a kind, up to a position if one is given, stream by stream.
    /// Meant for kinds with few events, such as tiers and services.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the database does not answer.
    pub async fn read_kind(
        &self,
        kind: &str,
        at: Option<Position>,
    ) -> Result<Vec<Recorded>, ReadError> {
        // '0' follows '/' in byte order, so that the range is exactly "<kind>/…".
        let rows = sqlx::query(
            "select position, tenant, stream, stream_version, type, schema_version, event_id,
                    recorded_at, occurred_at, actor, causation, correlation, meta, payload
               from event_log.log
              where stream >= $1 and stream < $2 and position <= $3
              order by stream, stream_version",
        )
        .bind(format!("{kind}/"))
        .bind(format!("{kind}0"))
        .bind(at.map_or(i64::MAX, |position| position.0))
        .fetch_all(self.pool())
        .await?;
        let mut events = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        self.complete(&mut events).await?;
        Ok(events)
    }

    /// The streams of a kind that may speak of something: those with a body that has these bytes,
    /// and those with a body in an archive, which is not opened for it. Walks every event of the
    /// kind: meant for what is done rarely.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the database does not answer.
    pub async fn streams_naming(
        &self,
        kind: &str,
        named: &[u8],
    ) -> Result<Vec<StreamId>, ReadError> {
        let names: Vec<String> = sqlx::query_scalar(
            "select distinct l.stream from event_log.log l
              where l.stream >= $1 and l.stream < $2
                and (position($3 in l.payload) > 0 or l.payload_commit is not null)
              order by l.stream",
        )
        .bind(format!("{kind}/"))
        .bind(format!("{kind}0"))
        .bind(named)
        .fetch_all(self.pool())
        .await?;
        let named = names.into_iter().map(StreamId::try_from).collect::<Result<_, _>>();
        Ok(named.map_err(|error| sqlx::Error::Decode(error.into()))?)
    }

    /// The position of the newest event of any stream of a kind.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the database does not answer.
    pub async fn newest_of_kind(&self, kind: &str) -> Result<Position, ReadError> {
        let newest: Option<i64> = sqlx::query_scalar(
            "select max(position) from event_log.stream_head where stream >= $1 and stream < $2",
        )
        .bind(format!("{kind}/"))
        .bind(format!("{kind}0"))
        .fetch_one(self.pool())
        .await?;
        Ok(Position(newest.unwrap_or_default()))
    }

    /// Who holds a claim.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the database does not answer.
    pub async fn claim_holder(
        &self,
        tenant: Uuid,
        scope: &str,
        value_hash: &[u8; 32],
    ) -> Result<Option<String>, ReadError> {
        let sql = "select holder from event_log.claim
                    where tenant = $1 and scope = $2 and value_hash = $3";
        Ok(sqlx::query_scalar(sql)
            .bind(tenant)
            .bind(scope)
            .bind(value_hash.as_slice())
            .fetch_optional(self.pool())
            .await?)
    }

    /// The values that somebody holds in a scope, by their stand-ins. Walks all claims: meant for
    /// what is done rarely.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the database does not answer.
    pub async fn claims_of(
        &self,
        tenant: Uuid,
        scope: &str,
        holder: &str,
    ) -> Result<Vec<[u8; 32]>, ReadError> {
        let sql = "select value_hash from event_log.claim
                    where tenant = $1 and scope = $2 and holder = $3 order by value_hash";
        let values: Vec<Vec<u8>> = sqlx::query_scalar(sql)
            .bind(tenant)
            .bind(scope)
            .bind(holder)
            .fetch_all(self.pool())
            .await?;
        Ok(values.into_iter().filter_map(|value| value.try_into().ok()).collect())
    }
}
