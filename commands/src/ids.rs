//! Ids: made here, never in the domain.
//!
//! The id of what a command creates is derived from the command's own id, so that the same command
//! sent twice names the same thing, whichever server it reaches.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A new id that sorts by time.
#[must_use]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// A new command id, for callers that have none of their own.
#[must_use]
pub fn new_command_id() -> Uuid {
    Uuid::now_v7()
}

/// The id of what `command_id` creates as `purpose`: the command's time when it carries one, and
/// 74 bits of a hash.
#[must_use]
pub fn derived_id(command_id: Uuid, purpose: &str) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(command_id.as_bytes());
    hasher.update(purpose.as_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    if command_id.get_version_num() == 7 {
        bytes[..6].copy_from_slice(&command_id.as_bytes()[..6]);
    }
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uuid::from_bytes(bytes)
}

/// The command id of what a flow asks for because of an event: the same for every delivery.
#[must_use]
pub(crate) fn flow_command_id(flow: &str, position: i64, ordinal: &str) -> Uuid {
    let mut hasher = Sha256::new();
    for part in [flow.as_bytes(), &position.to_be_bytes(), ordinal.as_bytes()] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_names_the_same_thing_and_another_does_not() {
        let command = new_command_id();
        assert_eq!(derived_id(command, "user"), derived_id(command, "user"));
        assert_ne!(derived_id(command, "user"), derived_id(command, "grant"));
        assert_ne!(derived_id(command, "user"), derived_id(new_command_id(), "user"));
        assert_eq!(derived_id(command, "user").get_version_num(), 7);
    }

    #[test]
    fn a_flow_names_its_commands_by_what_caused_them() {
        assert_eq!(flow_command_id("a", 1, "x"), flow_command_id("a", 1, "x"));
        assert_ne!(flow_command_id("a", 1, "x"), flow_command_id("a", 2, "x"));
        assert_ne!(flow_command_id("ab", 1, "x"), flow_command_id("a", 1, "bx"));
    }
}
