//! Verifying a bundle: one pass, one thread that reads and hashes, and one that puts together.

use super::chunks::{Chunk, Chunks, EndFault, Item};
use super::content::{Manifest, Scope, count_from};
use super::gaps::{Gaps, PURGED};
use super::places::Places;
use super::record::Checked;
use super::{Fault, Kind};
use crate::evidence::Hash;
use crate::note::{Checkpoint, Cosignature, Note, Policy, VerifierKey};
use crate::tree::entry::Entry;
use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use uuid::Uuid;

/// How many chunks may be read ahead.
const CHUNKS_AHEAD: usize = 2;

/// Listens to what a bundle holds, in its order. What it hears is proved only once the whole bundle
/// is.
pub trait Fold {
    /// What the bundle claims to be.
    fn begin(&mut self, manifest: &Manifest);
    /// The figures that stand in it.
    fn figures(&mut self, bytes: &[u8]);
    /// The next event.
    fn event(&mut self, seen: &Seen<'_>);
}

/// An event as it stands in a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its place.
    pub position: i64,
    /// Whose it is.
    pub tenant: Uuid,
    /// Its stored name.
    pub type_name: &'a str,
    /// Which form of that name.
    pub schema_version: i16,
    /// Its body, where it is there.
    pub payload: Option<&'a [u8]>,
}

/// What was found.
#[derive(Debug)]
pub struct Outcome {
    /// What was proved, up to the fault where there is one.
    pub summary: Summary,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// What was proved.
#[derive(Debug, Default)]
pub struct Summary {
    /// What the bundle claims to be, once that was read.
    pub manifest: Option<Manifest>,
    /// How many events with a place in the bundle were read.
    pub events: u64,
    /// How many whole batches.
    pub batches: u64,
    /// The last of the events.
    pub last: Option<Entry>,
    /// How many checkpoints were proved.
    pub checkpoints: u64,
    /// The last checkpoint that was proved.
    pub checkpoint: Option<Checkpoint>,
    /// Which keys of the log signed it.
    pub signers: Vec<VerifierKey>,
    /// Which witnesses of the policy cosigned it.
    pub cosignatures: Vec<Cosignature>,
    /// How many events the organization has by then.
    pub count: Option<i64>,
    /// How many bodies are gone by a recorded decision.
    pub purged: u64,
}

/// Verifies a bundle. It is read once, and never further than the first thing that is wrong.
///
/// # Errors
/// When it cannot be read; what is wrong with it is a part of the outcome.
pub fn verify<R: Read + Send>(
    input: R,
    policy: &Policy,
    fold: &mut dyn Fold,
) -> io::Result<Outcome> {
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel::<Chunk>(CHUNKS_AHEAD);
        let reader = scope.spawn(move || -> io::Result<()> {
            let mut reader = Chunks::new(input);
            while let Some(chunk) = reader.next()? {
                // Nobody listens any more once something was found.
                if sender.send(chunk).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut walk = Walk {
            policy,
            fold,
            stage: Stage::Begin,
            places: None,
            gaps: Gaps::new(1, 0),
            summary: Summary::default(),
        };
        let fault = chunks.iter().find_map(|chunk| walk.take(&chunk).err());
        drop(chunks);
        let read = reader.join().map_err(|_| io::Error::other("reading the bundle broke off"))?;
        let fault = match (fault, read) {
            (None, Err(error)) => return Err(error),
            (fault, _) => fault.or_else(|| walk.unfinished()),
        };
        Ok(Outcome { summary: walk.finish(), fault })
    })
}

/// How far a bundle has been read.
#[derive(Clone, Copy)]
enum Stage {
    Begin,
    Figures,
    Leaves,
    /// Behind the last checkpoint, with the root of the map of organizations.
    Proved(Hash),
    Counted,
    Ended,
}

struct Walk<'a> {
    policy: &'a Policy,
    fold: &'a mut dyn Fold,
    stage: Stage,
    places: Option<Places>,
    gaps: Gaps,
    summary: Summary,
}

impl Walk<'_> {
    fn take(&mut self, chunk: &Chunk) -> Result<(), Fault> {
        chunk.items.iter().try_for_each(|item| self.item(item, &chunk.bytes))
    }

    fn item(&mut self, item: &Item, bytes: &[u8]) -> Result<(), Fault> {
        let next = self.next();
        let checked = |checked: &Result<Checked, &'static str>| match checked {
            Ok(event) => Ok(event.clone()),
            Err(problem) => Err(Fault::content(next, *problem)),
        };
        match item {
            Item::Event(event) => {
                let places = self.leaves()?;
                let event = checked(event)?;
                places.event(&event)?;
                self.listen(&event, bytes, next)
            }
            Item::Neighbour(event) => self.leaves()?.neighbour(&checked(event)?),
            Item::Purge(event) => {
                let places = self.leaves()?;
                let event = checked(event)?;
                places.purge(&event)?;
                self.account(&event, bytes, next)
            }
            Item::Other(kind, within) => self.other(*kind, &bytes[within.clone()]),
            Item::End(end) => self.end(*end),
            Item::Broken(problem) => Err(Fault::incomplete(next, *problem)),
        }
    }

    /// The first position that has not been read.
    fn next(&self) -> i64 {
        self.places.as_ref().map_or(1, Places::next)
    }

    /// Where events, batches, gaps and checkpoints may stand.
    fn leaves(&mut self) -> Result<&mut Places, Fault> {
        let next = self.next();
        match (self.stage, &mut self.places) {
            (Stage::Leaves, Some(places)) => Ok(places),
            _ => Err(misplaced(next)),
        }
    }

    /// Hands an event on, and notes what it does not have.
    fn listen(&mut self, event: &Checked, bytes: &[u8], position: i64) -> Result<(), Fault> {
        let has_bodies = self.summary.manifest.as_ref().is_some_and(|manifest| manifest.bodies);
        let payload = event.payload.clone().map(|within| &bytes[within]);
        // It was read as text before.
        let type_name = std::str::from_utf8(&bytes[event.type_name.clone()]).unwrap_or_default();
        match payload {
            Some(_) if !has_bodies => {
                return Err(Fault::content(position, "a body stands in a bundle without bodies"));
            }
            Some(payload) if type_name == PURGED => self.gaps.authorise(event.tenant, payload),
            None if has_bodies => {
                let hash = event.entry.event_hash;
                self.gaps.note(position, event.tenant, event.event_id, hash)?;
            }
            Some(_) | None => {}
        }
        self.fold.event(&Seen {
            position,
            tenant: event.tenant,
            type_name,
            schema_version: event.schema_version,
            payload,
        });
        Ok(())
    }

    /// Takes in a purge that was recorded behind the bundle's events.
    fn account(&mut self, event: &Checked, bytes: &[u8], position: i64) -> Result<(), Fault> {
        let is_purge = bytes[event.type_name.clone()] == *PURGED.as_bytes();
        let payload = event.payload.clone().filter(|_| is_purge).ok_or_else(|| {
            Fault::incomplete(position, "what stands here as a purge is another event")
        })?;
        self.gaps.authorise(event.tenant, &bytes[payload]);
        Ok(())
    }

    fn other(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Fault> {
        match (kind, self.stage) {
            (Kind::Manifest, Stage::Begin) => self.begin(bytes),
            (Kind::Replay, Stage::Figures) => {
                self.fold.figures(bytes);
                self.stage = Stage::Leaves;
                Ok(())
            }
            (Kind::Batch, _) => self.leaves()?.batch(bytes),
            (Kind::Gap, _) => self.leaves()?.gap(bytes),
            (Kind::Checkpoint, Stage::Leaves) => self.checkpoint(bytes),
            (Kind::Count, Stage::Proved(tenants)) => self.count(bytes, &tenants),
            _ => Err(misplaced(self.next())),
        }
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| {
            Fault::incomplete(1, format!("the manifest cannot be read: {error}"))
        })?;
        if let Some(problem) = manifest.fault() {
            return Err(Fault::incomplete(manifest.from.max(1), problem));
        }
        self.stage = if manifest.replay { Stage::Figures } else { Stage::Leaves };
        self.fold.begin(&manifest);
        self.summary.manifest = Some(manifest.clone());
        self.gaps = Gaps::new(manifest.from, manifest.to);
        self.places = Some(Places::new(manifest));
        Ok(())
    }

    /// A checkpoint: signed as the policy asks, in its place, and with the root of these leaves.
    fn checkpoint(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let policy = self.policy;
        let proved = self.summary.checkpoint.as_ref().map_or(0, Checkpoint::size);
        let places = self.leaves()?;
        places.whole()?;
        let size = i64::try_from(places.size()).unwrap_or(i64::MAX);
        let forged = |problem: String| Fault::signature(size, problem);
        let note: Note = std::str::from_utf8(bytes)
            .map_err(|_| forged("the checkpoint here is no text".to_owned()))?
            .parse()
            .map_err(|error| forged(format!("the checkpoint here cannot be read: {error}")))?;
        let found: Checkpoint = note
            .text()
            .parse()
            .map_err(|error| forged(format!("the checkpoint here cannot be read: {error}")))?;
        let signers = policy.signers(&note, found.origin()).map_err(|error| {
            forged(format!("the checkpoint of size {} is not signed: {error}", found.size()))
        })?;
        let manifest = places.manifest();
        if found.size() != places.size() {
            let problem = format!("a checkpoint of size {} stands here", found.size());
            return Err(Fault::incomplete(places.next(), problem));
        }
        let is_ours = found.origin().starts_with(&format!("opscenter/log/{}/", manifest.log));
        let is_last = found.size() == manifest.size;
        if !is_ours || is_last && found.origin() != manifest.origin {
            let problem = format!("the checkpoint is one of {}", found.origin());
            return Err(forged(problem));
        }
        places.compare(&found, proved, is_last)?;
        places.unproved = None;
        let cosignatures = policy.cosignatures(&note);
        if is_last {
            if let Some(problem) = policy.unmet(&cosignatures) {
                return Err(forged(problem));
            }
            let tenants = found.tenants();
            self.stage = Stage::Proved(tenants.ok_or_else(|| {
                forged("the checkpoint does not say how many events organizations have".to_owned())
            })?);
        }
        self.summary.checkpoints += 1;
        self.summary.signers = signers.into_iter().cloned().collect();
        self.summary.cosignatures = cosignatures;
        self.summary.checkpoint = Some(found);
        Ok(())
    }

    /// How many events the organization has: none is missing behind the last.
    fn count(&mut self, bytes: &[u8], tenants: &Hash) -> Result<(), Fault> {
        let next = self.next();
        let Some(places) = &self.places else { return Err(misplaced(next)) };
        let Scope::Organization(organization) = places.manifest().scope else {
            return Err(misplaced(next));
        };
        let proof = count_from(bytes).filter(|proof| proof.verify(organization, tenants));
        let proof = proof.ok_or_else(|| {
            let problem = "how many events the organization has is not what the checkpoint says";
            Fault::incomplete(next, problem)
        })?;
        if proof.count != places.sequence() && !places.is_behind() {
            let problem = format!(
                "the organization has {} events, and those behind number {} are missing",
                proof.count,
                places.sequence()
            );
            let behind = places.manifest().to;
            return Err(Fault::incomplete(behind, problem));
        }
        self.summary.count = Some(proof.count);
        self.stage = Stage::Counted;
        Ok(())
    }

    fn end(&mut self, end: Result<(), EndFault>) -> Result<(), Fault> {
        let next = self.next();
        let scope = self.summary.manifest.as_ref().map(|manifest| manifest.scope);
        match (self.stage, scope) {
            (Stage::Counted, _) | (Stage::Proved(_), Some(Scope::All)) => {}
            (Stage::Proved(_), _) => {
                return Err(Fault::incomplete(next, "the count of the organization is missing"));
            }
            (Stage::Begin | Stage::Figures | Stage::Leaves | Stage::Ended, _) => {
                return Err(Fault::incomplete(next, "the bundle ends before it is proved"));
            }
        }
        self.stage = Stage::Ended;
        match end {
            Ok(()) => {}
            Err(EndFault::Frames) => {
                let problem = "the bundle has not as many frames as its end says";
                return Err(Fault::incomplete(next, problem));
            }
            Err(EndFault::Bytes) => {
                let problem = "the bundle was changed after it was written, in something that \
                               nothing else proves";
                return Err(Fault::content(1, problem));
            }
        }
        match self.gaps.first_unauthorised() {
            None => Ok(()),
            Some(position) => {
                let problem = "the event's body is missing, and no recorded decision says so";
                Err(Fault::incomplete(position, problem))
            }
        }
    }

    /// What is missing where there were no more frames.
    fn unfinished(&self) -> Option<Fault> {
        let is_over = matches!(self.stage, Stage::Ended);
        (!is_over).then(|| Fault::incomplete(self.next(), "the bundle ends before it is proved"))
    }

    fn finish(mut self) -> Summary {
        if let Some(places) = &self.places {
            self.summary.events = places.events;
            self.summary.batches = places.batches;
            self.summary.last = places.last;
        }
        self.summary.purged = self.gaps.authorised();
        self.summary
    }
}

fn misplaced(position: i64) -> Fault {
    Fault::incomplete(position, "a part of the bundle stands where it cannot, or is missing")
}
