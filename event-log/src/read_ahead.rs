//! Reading a long stretch of the log at once, for whoever is far behind or begins at the start.
//!
//! One `copy … to stdout` delivers the rows while earlier ones are worked on. What is asked for has
//! to be visible already: the stretch ends where the caller says, never beyond the head.

use crate::{EventLog, Position, ReadError, Recorded, StreamId};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Microseconds from the epoch of Unix to that of Postgres.
const EPOCH: i64 = 946_684_800_000_000;
/// How many pages wait to be taken.
const PAGES_AHEAD: usize = 2;
/// What a binary copy begins with: signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;

/// Events that follow each other, those of other types left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// It begins after this position.
    pub after: Position,
    /// It ends with this position, whether or not the event there is among those wanted.
    pub last: Position,
    /// The events in order.
    pub events: Vec<Recorded>,
}

impl EventLog {
    /// Reads the events after a position and up to another in pages, ahead of whoever takes them.
    /// With `types`, only events of these names.
    #[must_use]
    pub fn read_ahead(
        &self,
        after: Position,
        to: Position,
        types: Option<&[&str]>,
        page_events: usize,
    ) -> mpsc::Receiver<Result<Stretch, ReadError>> {
        let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
        let sql = statement(after, to, types);
        let reading = Reading {
            log: self.clone(),
            to,
            is_whole: types.is_none(),
            page_events,
            sender,
            page: Stretch { after, last: after, events: Vec::new() },
        };
        tokio::spawn(reading.run(sql));
        receiver
    }
}

/// A copy takes no parameters: numbers are numbers, and names are quoted.
fn statement(after: Position, to: Position, types: Option<&[&str]>) -> String {
    let only = types.map_or_else(String::new, |names| {
        let quoted = |name: &&str| format!("'{}'", name.replace('\'', "''"));
        let names: Vec<String> = names.iter().map(quoted).collect();
        format!("and type = any (array[{}]::text[])", names.join(", "))
    });
    format!(
        "copy (select position, tenant, stream, stream_version, type, schema_version, event_id,
                      recorded_at, occurred_at, actor, causation, correlation, meta, payload
                 from event_log.log
                where position > {after} and position <= {to} {only} order by position)
           to stdout (format binary)"
    )
}

struct Reading {
    log: EventLog,
    to: Position,
    is_whole: bool,
    page_events: usize,
    sender: mpsc::Sender<Result<Stretch, ReadError>>,
    page: Stretch,
}

impl Reading {
    async fn run(mut self, sql: String) {
        if let Err(error) = self.read(&sql).await {
            // Nobody to tell is nobody who asks.
            let _told = self.sender.send(Err(error)).await;
        }
    }

    async fn read(&mut self, sql: &str) -> Result<(), ReadError> {
        let mut connection = self.log.pool().acquire().await?;
        let read = self.copy(&mut connection, sql).await;
        if !matches!(read, Ok(true)) {
            // Rows are still on their way, and whoever got the connection next would read them.
            connection.close_on_drop();
        }
        drop(connection);
        if read? && self.is_whole && self.page.last < self.to {
            let expected = self.page.last.next();
            return Err(ReadError::Gap { expected, found: self.to.next() });
        }
        Ok(())
    }

    /// Reads all rows and hands them over; false when nobody wants any more.
    async fn copy(&mut self, connection: &mut PgConnection, sql: &str) -> Result<bool, ReadError> {
        let mut rows = connection.copy_out_raw(sql).await?;
        let (mut buffer, mut taken) = (Vec::new(), 0);
        while let Some(bytes) = std::future::poll_fn(|cx| rows.as_mut().poll_next(cx)).await {
            buffer.extend_from_slice(&bytes?);
            if taken == 0 && buffer.len() >= HEADER_BYTES {
                taken = HEADER_BYTES;
            }
            while taken > 0 {
                let mut row = Row { bytes: &buffer[taken..] };
                let Some(event) = row.event() else { break };
                taken = buffer.len() - row.bytes.len();
                if !self.take(event?).await? {
                    return Ok(false);
                }
            }
            if taken > HEADER_BYTES {
                // What is left is the beginning of a row; mostly there is none.
                buffer.drain(HEADER_BYTES..taken);
                taken = HEADER_BYTES;
            }
        }
        if self.is_whole && self.page.last < self.to {
            return Ok(true);
        }
        self.page.last = self.to;
        self.hand_over().await?;
        Ok(true)
    }

    /// Takes one event in; false when nobody wants any more.
    async fn take(&mut self, event: Recorded) -> Result<bool, ReadError> {
        let expected = self.page.last.next();
        if self.is_whole && event.position != expected {
            return Err(ReadError::Gap { expected, found: event.position });
        }
        self.page.last = event.position;
        self.page.events.push(event);
        if self.page.events.len() < self.page_events {
            return Ok(true);
        }
        self.hand_over().await
    }

    /// Hands the page over; false when nobody wants any more.
    async fn hand_over(&mut self) -> Result<bool, ReadError> {
        let next = Stretch { after: self.page.last, last: self.page.last, events: Vec::new() };
        let mut page = std::mem::replace(&mut self.page, next);
        if page.after == page.last {
            return Ok(true);
        }
        self.log.complete(&mut page.events).await?;
        Ok(self.sender.send(Ok(page)).await.is_ok())
    }
}

/// Rows of a binary copy, not yet read.
struct Row<'a> {
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// The next event; none when its bytes are not all there, or there are no more.
    fn event(&mut self) -> Option<Result<Recorded, sqlx::Error>> {
        let before = self.bytes;
        let count = i16::from_be_bytes(self.array()?);
        if count < 0 {
            self.bytes = before;
            return None;
        }
        let mut fields: [Option<&[u8]>; 14] = [None; 14];
        for field in &mut fields {
            let Some(read) = self.field() else {
                self.bytes = before;
                return None;
            };
            *field = read;
        }
        let wrong = || sqlx::Error::Protocol("a row of the log has an unexpected form".to_owned());
        Some(recorded(&fields).ok_or_else(wrong))
    }

    /// One field, or null; none when its bytes are not all there.
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let length = i32::from_be_bytes(self.array()?);
        let Ok(length) = usize::try_from(length) else {
            return Some(None);
        };
        let (field, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(Some(field))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*array)
    }
}

fn recorded(fields: &[Option<&[u8]>; 14]) -> Option<Recorded> {
    let stream = fields[2].map(|bytes| StreamId::try_from(text(bytes)?).ok());
    Some(Recorded {
        position: Position(number(fields[0]?)?),
        tenant: Uuid::from_slice(fields[1]?).ok()?,
        stream: match stream {
            None => None,
            Some(stream) => Some(stream?),
        },
        stream_version: fields[3].and_then(number),
        type_name: text(fields[4]?)?,
        schema_version: i16::from_be_bytes(fields[5]?.try_into().ok()?),
        event_id: Uuid::from_slice(fields[6]?).ok()?,
        recorded_at: moment(fields[7]?)?,
        occurred_at: moment(fields[8]?)?,
        actor: text(fields[9]?)?,
        causation: fields[10].and_then(|bytes| Uuid::from_slice(bytes).ok()),
        correlation: fields[11].and_then(|bytes| Uuid::from_slice(bytes).ok()),
        meta: fields[12]?.to_vec(),
        payload: fields[13]?.to_vec(),
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

fn moment(bytes: &[u8]) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(number(bytes)?.checked_add(EPOCH)?)
}
