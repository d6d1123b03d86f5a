//! Things as they were: one stream folded through the read model's own handler.
//!
//! A handler is a pure function from an event and rows to rows, so that the rows of one thing at a
//! past position are what it makes of that thing's stream up to there. There is no second
//! description of anything: what can be asked now can be asked for then, in the same shape. It
//! works for what lives in one stream. Lists and sums add up many streams: they are answered from
//! read models that keep every version of their rows. What is neither is not answered for the past.

use super::{Asking, own_position};
use crate::graphql::{DateTime, LogPosition};
use crate::problem::{Code, Problem};
use event_log::{Position, StreamId};
use projections::{Occurrence, Projection, View};

/// A past moment: a time, or a place in the log. Both include what stands exactly there.
#[derive(async_graphql::OneofObject, Clone, Copy)]
pub(crate) enum AsOf {
    /// As it was at this time.
    Time(DateTime),
    /// As it was when the log ended here.
    Position(LogPosition),
}

/// The position that a past moment stands for.
pub(crate) async fn at_position(
    asking: &Asking,
    as_of: Option<AsOf>,
) -> Result<Option<Position>, Problem> {
    let Some(as_of) = as_of else { return Ok(None) };
    let out_of_range = |message: &str| Problem::new(Code::AsOfOutOfRange, message);
    let log = asking.log();
    let head = log.head().await?;
    let position = match as_of {
        AsOf::Position(given) => own_position(&asking.services, given, "asOf.position")?,
        AsOf::Time(DateTime(time)) if time > asking.services.executor.clock().now() => {
            return Err(out_of_range("asOf lies in the future; ask for now or earlier"));
        }
        AsOf::Time(DateTime(time)) => log.position_at(time).await?,
    };
    if position > head {
        return Err(out_of_range(
            "asOf lies beyond the end of the log; ask for its head or before",
        ));
    }
    if position < Position(1) {
        return Err(out_of_range("asOf lies before the first event; ask for a later moment"));
    }
    Ok(Some(position))
}

/// The rows that the events of one stream make, up to a position or up to now.
pub(crate) async fn fold<P: Projection>(
    asking: &Asking,
    kind: &str,
    id: &str,
    at: Option<Position>,
) -> Result<P::Rows, Problem> {
    let stream = StreamId::new(kind, id)?;
    let mut rows = P::Rows::default();
    for recorded in asking.log().read_stream(&stream, 0, at).await? {
        let occurrence = Occurrence::decode(recorded).map_err(|(_, e)| Problem::internal(&e))?;
        P::apply(&occurrence, &mut rows).map_err(|e| Problem::internal(&e))?;
    }
    Ok(rows)
}

/// A read model as of a position, once it is as far as that, or as it is now.
pub(crate) async fn view<'a>(
    asking: &'a Asking,
    name: &'static str,
    at: Option<Position>,
) -> Result<View<'a>, Problem> {
    let pool = match at {
        None => asking.model(name).await?,
        Some(at) => asking.model_after(name, at).await?,
    };
    Ok(View::at(pool, at))
}

/// How many events one stream has, up to a position or up to now.
pub(crate) async fn version(
    asking: &Asking,
    kind: &str,
    id: &str,
    at: Option<Position>,
) -> Result<i64, Problem> {
    let (stream, log) = (StreamId::new(kind, id)?, asking.log());
    let version = match at {
        None => log.stream_head(&stream).await?.map(|(version, _)| version),
        at => log.read_stream(&stream, 0, at).await?.last().and_then(|last| last.stream_version),
    };
    Ok(version.unwrap_or_default())
}
