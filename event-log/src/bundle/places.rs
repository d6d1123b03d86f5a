//! Where the events of a bundle stand: that each follows the one before, that none between them is
//! missing, and what the tree and the chain are with them.
//!
//! Every frame moves the same count of leaves on, so that the position of whatever comes next is
//! known before it is read: what is wrong is named by that, and never by what a frame says of
//! itself.

use super::Fault;
use super::content::{Batch, Manifest, Scope, gap_from};
use super::record::Checked;
use crate::evidence::{CHAIN_START, Hash};
use crate::note::Checkpoint;
use crate::tree::entry::Entry;
use crate::tree::organizations::Organizations;
use crate::tree::range::Range;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use uuid::Uuid;

/// How many streams and organizations are counted at most, so that memory stays bounded: what is
/// beyond is proved by the tree, and its numbers are not compared with each other.
const STREAMS_MAX: usize = 900_000;
const TENANTS_MAX: usize = 200_000;

/// A batch whose events are coming.
struct Open {
    batch: Batch,
    hasher: Sha256,
}

pub(super) struct Places {
    manifest: Manifest,
    leaves: Range,
    open: Option<Open>,
    /// After the last whole batch.
    chain: Option<Hash>,
    before: Option<Entry>,
    /// Of one organization: the number of its last event so far.
    sequence: i64,
    is_behind: bool,
    versions: HashMap<u128, i64>,
    counts: HashMap<Uuid, i64>,
    pub(super) events: u64,
    /// The last of those, without the neighbours.
    pub(super) last: Option<Entry>,
    pub(super) batches: u64,
    /// The first position that no checkpoint has proved yet.
    pub(super) unproved: Option<i64>,
}

impl Places {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self {
            chain: (manifest.from == 1).then_some(CHAIN_START),
            manifest,
            leaves: Range::default(),
            open: None,
            before: None,
            sequence: 0,
            is_behind: false,
            versions: HashMap::new(),
            counts: HashMap::new(),
            events: 0,
            last: None,
            batches: 0,
            unproved: None,
        }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The position of the next leaf.
    pub(super) fn next(&self) -> i64 {
        i64::try_from(self.leaves.size()).unwrap_or(i64::MAX).saturating_add(1)
    }

    pub(super) fn size(&self) -> u64 {
        self.leaves.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.leaves.root()
    }

    /// The number of the organization's last event so far.
    pub(super) fn sequence(&self) -> i64 {
        self.sequence
    }

    /// Whether the event behind the bundle's was there.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The chain, where the batches so far give it.
    pub(super) fn chain(&self) -> Option<Hash> {
        self.chain.filter(|_| self.manifest.scope == Scope::All && self.batches > 0)
    }

    /// Nothing but a batch's own events may come before it is whole.
    pub(super) fn whole(&self) -> Result<(), Fault> {
        let Some(Open { batch, .. }) = &self.open else { return Ok(()) };
        let (first, last) = (batch.first, batch.last());
        let problem = format!("the batch {first} to {last} has an event here, which is missing");
        Err(Fault::incomplete(self.next(), problem))
    }

    pub(super) fn batch(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.whole()?;
        let next = self.next();
        let batch = Batch::from_bytes(bytes)
            .ok_or_else(|| Fault::incomplete(next, "the batch is not written as one is"))?;
        if self.manifest.scope != Scope::All {
            return Err(Fault::incomplete(next, "a bundle of one organization has no batches"));
        }
        if batch.first != next {
            let problem = format!("a batch that begins at {} stands here", batch.first);
            return Err(Fault::incomplete(next, problem));
        }
        if batch.count < 1 || batch.first < self.manifest.from || batch.last() > self.manifest.to {
            let problem = format!("the batch claims {} events, as none here has", batch.count);
            return Err(Fault::content(next, problem));
        }
        if self.chain.is_some_and(|chain| chain != batch.previous) {
            return Err(Fault::content(next, "the batch does not follow from the one before"));
        }
        let mut hasher = Sha256::new();
        hasher.update(batch.previous);
        hasher.update(batch.first.to_be_bytes());
        hasher.update(batch.count.to_be_bytes());
        hasher.update(batch.recorded_at_micros.to_be_bytes());
        self.open = Some(Open { batch, hasher });
        Ok(())
    }

    pub(super) fn event(&mut self, event: &Checked) -> Result<(), Fault> {
        let Manifest { from, to, .. } = self.manifest;
        let next = self.next();
        self.follows(event)?;
        if next < from || next > to {
            let problem = format!("an event stands here, and the bundle is of {from} to {to}");
            return Err(Fault::incomplete(next, problem));
        }
        if self.manifest.scope == Scope::All {
            self.in_batch(&event.entry)?;
        }
        self.events += 1;
        self.last = Some(event.entry);
        self.unproved.get_or_insert(next);
        self.leaves.push(event.leaf);
        Ok(())
    }

    pub(super) fn neighbour(&mut self, event: &Checked) -> Result<(), Fault> {
        let Manifest { from, to, .. } = self.manifest;
        let next = self.next();
        if self.manifest.scope == Scope::All || (from..=to).contains(&next) {
            return Err(Fault::incomplete(next, "an event without its place in the bundle"));
        }
        if next < from && self.before.is_some() || event.payload.is_some() {
            return Err(Fault::incomplete(next, "more than one event before the bundle's first"));
        }
        self.follows(event)?;
        self.is_behind = next > to;
        self.unproved.get_or_insert(next);
        self.leaves.push(event.leaf);
        Ok(())
    }

    /// A purge behind the bundle's events. Where it is the organization's next event, it is the
    /// neighbour as well.
    pub(super) fn purge(&mut self, event: &Checked) -> Result<(), Fault> {
        self.whole()?;
        let (next, entry) = (self.next(), &event.entry);
        let is_ours = match self.manifest.scope {
            Scope::All => true,
            Scope::Organization(organization) => event.tenant == organization,
        };
        let is_numbered = Some(entry.tenant_sequence) == self.sequence.checked_add(1)
            || self.is_behind && entry.tenant_sequence > self.sequence
            || self.manifest.scope == Scope::All;
        if next <= self.manifest.to || entry.position.0 != next || !is_ours || !is_numbered {
            return Err(Fault::incomplete(next, "a purge stands where it cannot"));
        }
        if self.before.is_some_and(|before| !is_later(&before, entry)) {
            return Err(Fault::content(next, "its batch or its time is not one that can follow"));
        }
        self.sequence = entry.tenant_sequence;
        self.is_behind = true;
        self.before = Some(*entry);
        self.unproved.get_or_insert(next);
        self.leaves.push(event.leaf);
        Ok(())
    }

    pub(super) fn gap(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.whole()?;
        let (next, start) = (self.next(), self.leaves.size());
        let odd = || Fault::incomplete(next, "the hashes from here on are not written as they are");
        let (end, hashes) = gap_from(bytes).ok_or_else(odd)?;
        if end <= start || end > self.manifest.size {
            return Err(odd());
        }
        if !self.manifest.may_skip(start, end) {
            let problem = format!("the events {next} to {end} are missing");
            return Err(Fault::incomplete(next, problem));
        }
        if self.leaves.skip(end, hashes) { Ok(()) } else { Err(odd()) }
    }

    /// That an event follows the one before: position, time, number and version.
    fn follows(&mut self, event: &Checked) -> Result<(), Fault> {
        let (next, entry) = (self.next(), &event.entry);
        if entry.position.0 != next {
            let problem =
                format!("the event of position {} stands here; one is missing", entry.position);
            return Err(Fault::incomplete(next, problem));
        }
        if self.is_behind {
            return Err(Fault::incomplete(next, "an event stands behind the bundle's last"));
        }
        let end = entry.batch_first.0.saturating_add(i64::from(entry.batch_count));
        let is_inside = (entry.batch_first.0..end).contains(&next);
        if !is_inside || self.before.is_some_and(|before| !is_later(&before, entry)) {
            // Where two of one batch disagree, it may be the first of them that was changed.
            let beside = self.before.filter(|before| before.batch_first == entry.batch_first);
            let position = beside.filter(|_| is_inside).map_or(next, |before| before.position.0);
            let problem = "its batch or its time does not fit those of the events beside it";
            return Err(Fault::content(position, problem));
        }
        self.number(event)?;
        self.version(event)?;
        self.before = Some(*entry);
        Ok(())
    }

    /// The number within its organization.
    fn number(&mut self, event: &Checked) -> Result<(), Fault> {
        let (next, found) = (self.next(), event.entry.tenant_sequence);
        match self.manifest.scope {
            Scope::Organization(organization) if event.tenant != organization => {
                Err(Fault::content(next, "the event is another organization's"))
            }
            Scope::Organization(_) => {
                // What comes just before the bundle is where counting begins.
                let is_first = next < self.manifest.from;
                let expected =
                    if is_first { found.max(1) } else { self.sequence.saturating_add(1) };
                self.sequence = found;
                as_expected(next, found, expected)
            }
            Scope::All if self.manifest.from == 1 => {
                if self.counts.len() >= TENANTS_MAX && !self.counts.contains_key(&event.tenant) {
                    return Ok(());
                }
                let count = self.counts.entry(event.tenant).or_default();
                *count += 1;
                as_expected(next, found, *count)
            }
            Scope::All => Ok(()),
        }
    }

    /// The version within its stream.
    fn version(&mut self, event: &Checked) -> Result<(), Fault> {
        let (next, found) = (self.next(), event.entry.stream_version);
        let Some(stream) = event.stream else {
            let problem = "the event has a version and no stream";
            return if found == 0 { Ok(()) } else { Err(Fault::content(next, problem)) };
        };
        let known = self.versions.get(&stream).copied();
        let is_right = match (self.manifest.scope, known) {
            (Scope::All, Some(before)) => before.checked_add(1) == Some(found),
            (Scope::All, None) if self.manifest.from == 1 => {
                found == 1 || self.versions.len() >= STREAMS_MAX
            }
            // Events of the stream may be another organization's, or before the bundle.
            (_, before) => found > before.unwrap_or(0),
        };
        if !is_right {
            return Err(Fault::content(next, format!("its stream cannot be at version {found}")));
        }
        if known.is_some() || self.versions.len() < STREAMS_MAX {
            self.versions.insert(stream, found);
        }
        Ok(())
    }

    /// That an event is in the batch that is open; with the last, the chain.
    fn in_batch(&mut self, entry: &Entry) -> Result<(), Fault> {
        let next = self.next();
        let Some(Open { batch, hasher }) = &mut self.open else {
            return Err(Fault::incomplete(next, "the batch of this event is missing"));
        };
        let is_same = entry.batch_first.0 == batch.first
            && entry.batch_count == batch.count
            && entry.recorded_at_micros == batch.recorded_at_micros;
        if !is_same {
            return Err(Fault::content(next, "the event does not say what its batch says"));
        }
        hasher.update(entry.event_hash);
        if next < batch.last() {
            return Ok(());
        }
        let found: Hash = hasher.clone().finalize().into();
        let (first, chain) = (batch.first, batch.chain);
        self.open = None;
        if found != chain {
            let problem =
                format!("the chain does not follow: an event of {first} to {next} was changed");
            return Err(Fault::content(first, problem));
        }
        self.batches += 1;
        self.chain = Some(chain);
        Ok(())
    }

    /// That the leaves so far are those that a checkpoint is about.
    pub(super) fn compare(
        &self,
        found: &Checkpoint,
        proved: u64,
        is_last: bool,
    ) -> Result<(), Fault> {
        let size = self.size();
        let first = i64::try_from(proved).unwrap_or(i64::MAX).saturating_add(1);
        let position = self.unproved.unwrap_or(first);
        let changed = |what: &str| {
            let problem = format!(
                "{what} of the checkpoint of size {size} is another: something between {first} and \
                 {size} is not what was recorded"
            );
            Fault::content(position, problem)
        };
        if self.root() != *found.root() {
            return Err(changed("the root"));
        }
        // Behind the bundle's events there are no batches.
        let is_reached = self.next() <= self.manifest().to.saturating_add(1);
        if is_reached && self.chain().is_some_and(|chain| found.chain() != Some(chain)) {
            return Err(changed("the chain"));
        }
        // Every event of the log is in the bundle then.
        if is_last && is_reached && self.tenants().is_some_and(|root| found.tenants() != Some(root))
        {
            return Err(changed("the count of an organization"));
        }
        Ok(())
    }

    /// The root of the map of organizations, where every event was counted.
    pub(super) fn tenants(&self) -> Option<Hash> {
        let total: i64 = self.counts.values().sum();
        let is_all = self.manifest.scope == Scope::All && total.unsigned_abs() == self.size();
        is_all.then(|| {
            let mut organizations = Organizations::default();
            self.counts.iter().for_each(|(tenant, count)| organizations.set(*tenant, *count));
            organizations.root()
        })
    }
}

/// Whether an entry's batch and time can come after another's.
fn is_later(before: &Entry, entry: &Entry) -> bool {
    if entry.batch_first == before.batch_first {
        return entry.batch_count == before.batch_count
            && entry.recorded_at_micros == before.recorded_at_micros;
    }
    let end = before.batch_first.0.saturating_add(i64::from(before.batch_count));
    entry.batch_first.0 >= end && entry.recorded_at_micros > before.recorded_at_micros
}

fn as_expected(position: i64, found: i64, expected: i64) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    let problem = if found > expected {
        format!(
            "this is event {found} of its organization, and {expected} to {} are missing",
            found - 1
        )
    } else {
        format!("this is event {found} of its organization, where {expected} should come")
    };
    Err(Fault::incomplete(position, problem))
}
