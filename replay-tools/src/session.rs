//! Opening an installation to look at it.

use crate::Failure;
use event_log::StreamId;
use installation::{Access, Installation, Place};

/// How many connections a tool reads with.
const CONNECTIONS: u32 = 3;

/// Opens it so that the database itself refuses whatever would write.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub(crate) async fn open(place: &Place) -> Result<Installation, Failure> {
    let opened = Installation::open_with(place, Access::Read, |settings| {
        settings.read_connections = CONNECTIONS;
    });
    Ok(opened.await?)
}

/// The stream of a thing.
///
/// # Errors
/// [`Failure::Usage`] for a name that none can have.
pub(crate) fn stream(kind: &str, id: &str) -> Result<StreamId, Failure> {
    StreamId::new(kind, id).map_err(|error| Failure::Usage(error.to_string()))
}
