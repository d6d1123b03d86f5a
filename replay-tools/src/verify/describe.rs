//! What a finding means, in words for somebody who has to act on it.

use super::Finding;
use event_log::verify::{self, Problem, RawBatch};

/// The finding in words.
pub(super) fn describe(finding: &verify::Finding, batch: &RawBatch) -> Finding {
    let position = finding.position.0;
    let problem = match &finding.problem {
        Problem::BatchGap { expected } if batch.first > *expected => format!(
            "no batch covers it: the next one begins at {}; a batch was removed",
            batch.first
        ),
        Problem::BatchGap { expected } => format!(
            "the batch {} to {} overlaps the one before, which ends at {}; a batch was added or \
             changed",
            batch.first,
            batch.last,
            expected - 1
        ),
        Problem::BatchBounds { last } => format!("the batch that begins here ends at {last}"),
        Problem::RowPosition { found: 0 } => "there is no event here; it was removed".to_owned(),
        Problem::RowPosition { found } if *found > position => {
            format!("there is no event here, the next is at {found}; one was removed or moved")
        }
        Problem::RowPosition { found } => {
            format!("the event of position {found} stands here too; one was added or moved")
        }
        Problem::EventHash => {
            "the event's content does not have the hash it was recorded with; it was edited"
                .to_owned()
        }
        Problem::RecordedAt => "the event's recorded time is not that of its batch".to_owned(),
        Problem::TimeOrder => "the log's time does not move forward here".to_owned(),
        Problem::StreamVersion { stream, expected, found } => {
            format!("{stream} should be at version {expected} here, not {found}")
        }
        Problem::StreamShape => "the event has only one of stream and stream version".to_owned(),
        Problem::HalfPurged => {
            "the event's bodies were purged by half, as no purge does; it was edited".to_owned()
        }
        Problem::UnrecordedPurge => {
            "the event's body is gone or accounted for wrongly: no recorded purge says just that"
                .to_owned()
        }
        Problem::Chain => format!(
            "the chain does not follow from the batch {} to {}: an event of it, its time or the \
             chain itself was changed",
            batch.first, batch.last
        ),
    };
    Finding::changed(position, problem)
}
