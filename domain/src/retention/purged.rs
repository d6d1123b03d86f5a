//! An event whose body was purged: that it happened, when, by whom and where is known, and what it
//! said is not.
//!
//! No event is written with an empty body, so an empty body of a kind that may be purged is one
//! that was. Of any other kind it is damage, and an error.

/// An event without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    type_name: &'static str,
    schema_version: i16,
    audit_action: &'static str,
}

/// What may have been purged: every event of a kind that nothing is derived from.
const KNOWN: &[Event] = &[
    Event {
        type_name: "command_denied",
        schema_version: 1,
        audit_action: "security.permission.denied",
    },
    Event {
        type_name: "command_refused",
        schema_version: 1,
        audit_action: "security.command.refused",
    },
];

impl Event {
    /// Purged events are written under the names that they had.
    pub const NAMES: &'static [(&'static str, i16)] = &[];

    /// The stored name.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The version of the body that was there.
    #[must_use]
    pub const fn schema_version(&self) -> i16 {
        self.schema_version
    }

    /// The name that the audit reader knows it by: that of the event as it was.
    #[must_use]
    pub const fn audit_action(&self) -> &'static str {
        self.audit_action
    }

    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        Err(serde::ser::Error::custom("a body that was purged cannot be written again"))
    }

    pub(crate) fn decode(
        type_name: &str,
        version: i16,
        payload: &[u8],
    ) -> Option<serde_json::Result<Self>> {
        if !payload.is_empty() {
            return None;
        }
        let known = KNOWN
            .iter()
            .find(|known| (known.type_name, known.schema_version) == (type_name, version))?;
        Some(Ok(*known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::RecordKind;
    use crate::{DecodeError, Event as Any};

    #[test]
    fn i31_a_purged_body_is_told_by_name_and_a_missing_one_is_an_error() {
        for name in RecordKind::Denials.type_names() {
            let read = Any::decode(name, 1, b"").expect("a purged event");
            assert_eq!((read.type_name(), read.schema_version()), (*name, 1));
            assert!(matches!(read, Any::Purged(_)) && read.encode().is_err());
            let newer = Any::decode(name, 2, b"").expect_err("a version nobody wrote");
            assert!(matches!(newer, DecodeError::Unknown { .. }), "{newer}");
        }
        for known in KNOWN {
            let sample = format!("{}.v{}.json", known.type_name, known.schema_version);
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(sample);
            let body = std::fs::read(path).expect("the sample");
            let whole =
                Any::decode(known.type_name, known.schema_version, &body).expect("it whole");
            assert_eq!(whole.audit_action(), known.audit_action);
        }
        let damaged = Any::decode("usage_recorded", 1, b"").expect_err("usage is never purged");
        assert!(matches!(damaged, DecodeError::Payload { .. }), "{damaged}");
    }
}
