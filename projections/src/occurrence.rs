//! What happened, decoded once for all read models.

use domain::values::OrganizationId;
use domain::{DecodeError, Event};
use event_log::{Position, Recorded, StreamId};
use uuid::Uuid;

/// A recorded event, decoded, with everything the log knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// Its place in the order of everything.
    pub position: Position,
    /// Whose it is; the nil uuid for the platform itself.
    pub tenant: Uuid,
    /// Where it belongs; none for bulk usage.
    pub stream: Option<StreamId>,
    /// The log's time.
    pub recorded_at: domain::Instant,
    /// When it happened, as the writer said.
    pub occurred_at: domain::Instant,
    /// Who did it.
    pub actor: String,
    /// The command or event it follows from.
    pub causation: Option<Uuid>,
    /// What it belongs together with.
    pub correlation: Option<Uuid>,
    /// Its own id.
    pub event_id: Uuid,
    /// Bytes about the event, as the writer of commands wrote them.
    pub meta: Vec<u8>,
    /// What happened.
    pub event: Event,
}

impl Occurrence {
    /// Decodes what the log holds; gives it back when that cannot be done.
    ///
    /// # Errors
    /// When the name, the version or the shape is unknown to this program.
    pub fn decode(recorded: Recorded) -> Result<Self, (Box<Recorded>, DecodeError)> {
        let (name, version) = (&recorded.type_name, recorded.schema_version);
        match Event::decode(name, version, &recorded.payload) {
            Ok(event) => Ok(Self::of(recorded, event)),
            Err(error) => Err((Box::new(recorded), error)),
        }
    }

    fn of(recorded: Recorded, event: Event) -> Self {
        Self {
            position: recorded.position,
            tenant: recorded.tenant,
            stream: recorded.stream,
            recorded_at: recorded.recorded_at,
            occurred_at: recorded.occurred_at,
            actor: recorded.actor,
            causation: recorded.causation,
            correlation: recorded.correlation,
            event_id: recorded.event_id,
            meta: recorded.meta,
            event,
        }
    }

    /// The organization it belongs to; none for what belongs to the platform itself.
    #[must_use]
    pub fn organization(&self) -> Option<OrganizationId> {
        (!self.tenant.is_nil()).then(|| OrganizationId::new(self.tenant))
    }

    /// The organization, for events that always have one.
    pub(crate) fn owner(&self) -> OrganizationId {
        OrganizationId::new(self.tenant)
    }
}
