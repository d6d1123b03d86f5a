//! Bodies that a bundle does not have though it claims to have bodies: which of them were purged by
//! a recorded decision, and which are simply missing.
//!
//! A purge is an event of type `bodies_purged` of the same organization. It names positions, and a
//! digest over position, id and hash of every event at them. Where all of them are in the bundle,
//! the digest must fit them, or the purge accounts for nothing. Where some are not, the positions
//! count, for the tree says which events stand there. It comes after what it purged, so that what
//! is missing is kept in mind until the end.

use super::Fault;
use crate::evidence::Hash;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The event that accounts for bodies that are gone.
pub(super) const PURGED: &str = "bodies_purged";

/// The first bytes of what the digest of a purge is over.
const PURGE_MAGIC: &[u8; 8] = b"OPSPURG1";

/// How many missing bodies are kept in mind: some 80 MB.
const MISSING_MAX: usize = 700_000;

/// Bodies that are not there.
#[derive(Debug)]
pub struct Gaps {
    from: i64,
    to: i64,
    missing: BTreeMap<i64, (Uuid, Uuid, Hash)>,
    authorised: u64,
}

/// What a purge says, as far as it matters here.
#[derive(Deserialize)]
struct Purge {
    runs: Vec<Run>,
    digest: String,
}

#[derive(Deserialize)]
struct Run {
    first: i64,
    last: i64,
}

impl Gaps {
    /// Of a bundle from one position to another.
    pub(super) fn new(from: i64, to: i64) -> Self {
        Self { from, to, missing: BTreeMap::new(), authorised: 0 }
    }

    /// Takes in that the body of an event is not there.
    pub(super) fn note(
        &mut self,
        position: i64,
        tenant: Uuid,
        event_id: Uuid,
        hash: Hash,
    ) -> Result<(), Fault> {
        if self.missing.len() >= MISSING_MAX {
            let first = self.first_unauthorised().unwrap_or(position);
            return Err(Fault::incomplete(
                first,
                "too many bodies are missing to account for them",
            ));
        }
        self.missing.insert(position, (tenant, event_id, hash));
        Ok(())
    }

    /// Decides which gaps a recorded purge authorises.
    pub(super) fn authorise(&mut self, tenant: Uuid, payload: &[u8]) {
        let Ok(purge) = serde_json::from_slice::<Purge>(payload) else { return };
        // In order, so that nothing is looked at twice.
        let is_ordered = purge.runs.is_sorted_by(|one, next| one.last < next.first)
            && purge.runs.iter().all(|run| run.first <= run.last);
        let (Some(first), Some(last)) = (purge.runs.first(), purge.runs.last()) else { return };
        if !is_ordered {
            return;
        }
        let is_inside = first.first >= self.from && last.last <= self.to;
        let mut digest = Sha256::new_with_prefix(PURGE_MAGIC);
        let (mut named, mut claimed) = (Vec::new(), 0_u64);
        for run in &purge.runs {
            claimed = claimed.saturating_add(run.last.abs_diff(run.first).saturating_add(1));
            for (position, (of, event_id, hash)) in self.missing.range(run.first..=run.last) {
                if *of != tenant {
                    return;
                }
                digest.update(position.to_be_bytes());
                digest.update(event_id.as_bytes());
                digest.update(hash);
                named.push(*position);
            }
        }
        let is_all = u64::try_from(named.len()).is_ok_and(|named| named == claimed);
        if is_inside && !(is_all && HEXLOWER.encode(&digest.finalize()) == purge.digest) {
            return;
        }
        for position in named {
            self.authorised += u64::from(self.missing.remove(&position).is_some());
        }
    }

    /// How many bodies are gone by a recorded decision.
    #[must_use]
    pub fn authorised(&self) -> u64 {
        self.authorised
    }

    /// The first body that is missing and that no decision accounts for.
    #[must_use]
    pub fn first_unauthorised(&self) -> Option<i64> {
        self.missing.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Gaps;
    use crate::evidence::Hash;
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    const OURS: Uuid = Uuid::from_u128(1);

    fn gaps() -> Gaps {
        let mut gaps = Gaps::new(2, 9);
        for position in [3, 4, 9] {
            let id = Uuid::from_u128(u128::try_from(position).unwrap());
            gaps.note(position, OURS, id, [7; 32]).unwrap();
        }
        gaps
    }

    fn purge(positions: &[i64]) -> Vec<u8> {
        let mut bytes = b"OPSPURG1".to_vec();
        for position in positions {
            bytes.extend(position.to_be_bytes());
            bytes.extend(u128::try_from(*position).unwrap().to_be_bytes());
            bytes.extend([7; 32]);
        }
        let digest: Hash = Sha256::digest(&bytes).into();
        let runs: Vec<_> = positions
            .iter()
            .map(|position| serde_json::json!({"first": position, "last": position}))
            .collect();
        serde_json::to_vec(&serde_json::json!({
            "kind": "denials", "runs": runs, "digest": HEXLOWER.encode(&digest),
        }))
        .unwrap()
    }

    #[test]
    fn a_purge_authorises_just_the_gaps_that_it_names() {
        let mut gaps = gaps();
        gaps.authorise(OURS, &purge(&[3, 9]));
        assert_eq!((gaps.authorised(), gaps.first_unauthorised()), (2, Some(4)));
        gaps.authorise(OURS, &purge(&[4]));
        assert_eq!((gaps.authorised(), gaps.first_unauthorised()), (3, None));
    }

    #[test]
    fn a_purge_of_other_events_or_of_another_organization_authorises_nothing() {
        let mut gaps = gaps();
        let wrong = String::from_utf8(purge(&[3])).unwrap().replace("\"first\":3", "\"first\":4");
        let wrong = wrong.replace("\"last\":3", "\"last\":4");
        for (tenant, payload) in [
            (Uuid::from_u128(2), purge(&[3])),
            (OURS, purge(&[3, 5])),
            (OURS, wrong.into_bytes()),
            (OURS, b"{}".to_vec()),
            (OURS, br#"{"runs":[],"digest":""}"#.to_vec()),
            (OURS, br#"{"runs":[{"first":3,"last":3},{"first":1,"last":1}],"digest":""}"#.to_vec()),
        ] {
            gaps.authorise(tenant, &payload);
            assert_eq!((gaps.authorised(), gaps.first_unauthorised()), (0, Some(3)));
        }
    }

    #[test]
    fn a_purge_of_more_than_the_bundle_has_accounts_for_what_is_in_it_by_position() {
        let mut gaps = gaps();
        gaps.authorise(OURS, &purge(&[1, 3, 9, 12]));
        assert_eq!((gaps.authorised(), gaps.first_unauthorised()), (2, Some(4)));
        gaps.authorise(Uuid::from_u128(2), &purge(&[1, 4]));
        assert_eq!((gaps.authorised(), gaps.first_unauthorised()), (2, Some(4)));
    }
}
