//! Evidence: how far the log is proved, and proofs that anybody can check without us.

use super::scalars::{DateTime, Id, SafeInt};
use super::{LogPosition, asking, shown};
use crate::problem::{Code, Problem};
use crate::reading::{Asking, own_position};
use async_graphql::{Context, Object, SimpleObject};
use data_encoding::BASE64;
use domain::access::Resource;
use domain::values::OrganizationId;
use event_log::Position;
use event_log::evidence::Hash;
use event_log::tlog_proof::TlogProof;
use event_log::tree::signed::SignedCheckpoint;
use event_log::witness::{Sealing, WitnessStanding};
use futures_util::future::Either;
use uuid::Uuid;

/// A witness that signed a checkpoint.
#[derive(SimpleObject)]
pub(crate) struct Cosignature {
    /// The witness, by the name of its key.
    witness: String,
    /// When it signed.
    signed_at: DateTime,
}

/// A signed statement of how many events the log has and what they are.
#[derive(SimpleObject)]
pub(crate) struct LogCheckpoint {
    /// How many events it covers.
    size: SafeInt,
    /// When it was signed.
    signed_at: DateTime,
    /// The signed note (C2SP tlog-checkpoint), with what witnesses signed.
    note: String,
    /// The witnesses that signed it, too.
    cosignatures: Vec<Cosignature>,
}

impl From<SignedCheckpoint> for LogCheckpoint {
    fn from(signed: SignedCheckpoint) -> Self {
        let cosignatures = signed.cosignatures.into_iter();
        let cosignatures =
            cosignatures.map(|(witness, at)| Cosignature { witness, signed_at: DateTime(at) });
        Self {
            size: size(signed.size),
            signed_at: DateTime(signed.recorded_at),
            note: signed.note,
            cosignatures: cosignatures.collect(),
        }
    }
}

/// A witness that this server asks.
#[derive(SimpleObject)]
pub(crate) struct LogWitness {
    /// The name of its key.
    name: String,
    /// How many events the checkpoint has that it cosigned last for this server; null before one.
    cosigned_size: Option<SafeInt>,
    /// Whether it gave no cosignature when it was asked last. The server's log says why.
    is_failing: bool,
}

/// How far the log is proved.
#[derive(SimpleObject)]
pub(crate) struct LogEvidence {
    /// The last event.
    head: LogPosition,
    /// How many events the Merkle tree has taken in.
    tree_size: SafeInt,
    /// How many events no checkpoint covers yet.
    unsigned: SafeInt,
    /// The newest checkpoint; null before the first.
    checkpoint: Option<LogCheckpoint>,
    /// The newest checkpoint that enough witnesses have cosigned; null before one was, and where no
    /// witness is asked.
    sealed: Option<LogCheckpoint>,
    /// How many witnesses have to cosign a checkpoint to seal it; null where none is asked.
    quorum: Option<i32>,
    /// The witnesses that are asked.
    witnesses: Vec<LogWitness>,
    /// What verifies the checkpoints: verifier keys of signed notes.
    verifier_keys: Vec<String>,
    /// Why nothing is appended and nothing is signed, if so.
    halted: Option<String>,
}

/// That an event is in the log, for anybody who has a verifier key.
#[derive(SimpleObject)]
pub(crate) struct EventProof {
    /// The event.
    position: LogPosition,
    /// What the leaf is the hash of, in base64: 84 bytes as `docs/log-format.md` says.
    entry: String,
    /// The event's hash, in base64.
    event_hash: String,
    /// The size of the tree it is proved in.
    tree_size: SafeInt,
    /// The hashes beside the path from the leaf to the root, in base64.
    path: Vec<String>,
    /// The checkpoint of that tree.
    checkpoint: LogCheckpoint,
    /// All of it as one text, as C2SP's tlog-proof has it; `opscenter-replay verify` checks it.
    proof: String,
}

/// That a larger tree begins with a smaller one.
#[derive(SimpleObject)]
pub(crate) struct ConsistencyProof {
    /// The checkpoint of the smaller tree.
    from: LogCheckpoint,
    /// The checkpoint of the larger tree.
    to: LogCheckpoint,
    /// The hashes that RFC 6962 asks for, in base64.
    hashes: Vec<String>,
}

/// How many events an organization has, so that nobody can leave some out.
#[derive(SimpleObject)]
pub(crate) struct CountProof {
    /// How many events the organization has in the tree.
    count: SafeInt,
    /// The hashes beside the path in the map of organizations, in base64.
    path: Vec<String>,
    /// The checkpoint whose `tenants` line is the root of that map.
    checkpoint: LogCheckpoint,
}

#[derive(Default)]
pub(crate) struct EvidenceQuery;

#[Object]
impl EvidenceQuery {
    /// How far the log is proved, and by what.
    async fn log_evidence(&self, ctx: &Context<'_>) -> Result<LogEvidence, Problem> {
        evidence(asking(ctx)?).await
    }

    /// The proof that an event is in the log: by its position or its id.
    async fn event_proof(
        &self,
        ctx: &Context<'_>,
        position: Option<LogPosition>,
        event_id: Option<Uuid>,
    ) -> Result<EventProof, Problem> {
        event_proof(asking(ctx)?, position, event_id).await
    }

    /// The proof that the log of one checkpoint begins with the log of an earlier one.
    async fn consistency_proof(
        &self,
        ctx: &Context<'_>,
        from: SafeInt,
        to: SafeInt,
    ) -> Result<ConsistencyProof, Problem> {
        consistency_proof(asking(ctx)?, from, to).await
    }

    /// The proof of how many events an organization has, in the newest checkpoint.
    async fn event_count_proof(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
    ) -> Result<CountProof, Problem> {
        count_proof(asking(ctx)?, organization_id.0).await
    }
}

fn size(size: u64) -> SafeInt {
    SafeInt(i64::try_from(size).unwrap_or(i64::MAX))
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| BASE64.encode(hash)).collect()
}

fn unsigned() -> Problem {
    let message = "no checkpoint covers it yet; ask again in a second or two";
    Problem::new(Code::Unavailable, message)
}

async fn evidence(asking: &Asking) -> Result<LogEvidence, Problem> {
    asking.signed_in()?;
    let log = asking.log();
    let tree_size = log.tree_size().await?;
    let newest = log.newest_checkpoint().await?;
    let head = log.head().await?;
    let sealing = asking.services.sealing.as_ref();
    let sealed = match sealing {
        Some(sealing) => log.sealed_checkpoint(sealing.policy()).await?,
        None => None,
    };
    let signed = newest.as_ref().map_or(0, |newest| newest.size);
    let keys = asking.services.evidence.as_ref().map(|evidence| evidence.keys.verifier_keys());
    Ok(LogEvidence {
        head: shown(asking, head),
        tree_size: size(tree_size),
        unsigned: size(head.0.unsigned_abs().saturating_sub(signed)),
        checkpoint: newest.map(LogCheckpoint::from),
        sealed: sealed.map(LogCheckpoint::from),
        quorum: sealing.map(|it| i32::try_from(it.policy().quorum()).unwrap_or(i32::MAX)),
        witnesses: sealing.map(witnesses).unwrap_or_default(),
        verifier_keys: keys.unwrap_or_default().iter().map(ToString::to_string).collect(),
        halted: log.halted().map(|halt| halt.to_string()),
    })
}

fn witnesses(sealing: &Sealing) -> Vec<LogWitness> {
    let standings = sealing.standings().into_iter();
    let witness = |standing: WitnessStanding| LogWitness {
        name: standing.name.to_string(),
        cosigned_size: standing.size.map(size),
        is_failing: standing.fault.is_some(),
    };
    standings.map(witness).collect()
}

/// The position of an event that the caller, who is signed in, may read the history of.
async fn position_of(
    asking: &Asking,
    position: Option<LogPosition>,
    event_id: Option<Uuid>,
) -> Result<Position, Problem> {
    let log = asking.log();
    let (event, name) = match (position, event_id) {
        (Some(given), None) => {
            let position = own_position(&asking.services, given, "position")?;
            (Either::Left(log.event(position)), position.to_string())
        }
        (None, Some(id)) => (Either::Right(log.event_by_id(id)), id.to_string()),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::input("position", "give a position or an event's id"));
        }
    };
    let (event, reads_all) = tokio::join!(event, asking.reads_all(Resource::Audit));
    // Whoever may not see an event is not told whether there is one.
    let unknown = || Problem::not_found("event", &name);
    let event = event?.ok_or_else(unknown)?;
    if !reads_all? {
        let organization = OrganizationId::new(event.tenant);
        let hidden = event.tenant.is_nil()
            || match asking.may_read_of(organization, Resource::Audit).await {
                Ok(()) => false,
                Err(problem) if problem.is_denial() => true,
                Err(problem) => return Err(problem),
            };
        if hidden {
            return Err(unknown());
        }
    }
    Ok(event.position)
}

async fn event_proof(
    asking: &Asking,
    position: Option<LogPosition>,
    event_id: Option<Uuid>,
) -> Result<EventProof, Problem> {
    asking.signed_in()?;
    let log = asking.log();
    let (position, covering) = match position {
        // Asked for side by side; what covers it tells nothing to whoever may not see it.
        Some(given) => {
            let at = own_position(&asking.services, given, "position")?;
            let asked = position_of(asking, position, event_id);
            let (position, covering) = tokio::join!(asked, log.checkpoint_covering(at));
            (position?, covering?)
        }
        None => {
            let position = position_of(asking, position, event_id).await?;
            (position, log.checkpoint_covering(position).await?)
        }
    };
    let covering = covering.ok_or_else(unsigned)?;
    let inclusion = log.inclusion(position, covering.size).await?;
    let note = covering.note.parse().map_err(|error| {
        Problem::fault(&format!("the checkpoint of size {} is damaged: {error}", covering.size))
    })?;
    let proof = TlogProof { entry: inclusion.entry, path: inclusion.path, note };
    Ok(EventProof {
        position: shown(asking, position),
        entry: BASE64.encode(&proof.entry.to_bytes()),
        event_hash: BASE64.encode(&proof.entry.event_hash),
        tree_size: size(covering.size),
        path: texts(&proof.path),
        checkpoint: covering.into(),
        proof: proof.to_string(),
    })
}

async fn consistency_proof(
    asking: &Asking,
    from: SafeInt,
    to: SafeInt,
) -> Result<ConsistencyProof, Problem> {
    asking.signed_in()?;
    let log = asking.log();
    let mut checkpoints = Vec::new();
    for (field, given) in [("from", from), ("to", to)] {
        let size = u64::try_from(given.0).ok();
        let found = match size {
            Some(size) => log.checkpoint_of(size).await?,
            None => None,
        };
        let message = "there is no checkpoint of that size; take it from logEvidence or a proof";
        checkpoints.push(found.ok_or_else(|| Problem::input(field, message))?);
    }
    let [from, to] = <[SignedCheckpoint; 2]>::try_from(checkpoints)
        .map_err(|_| Problem::fault("two sizes gave other than two checkpoints"))?;
    if from.size > to.size {
        return Err(Problem::input("from", "it is larger than `to`; swap them"));
    }
    let hashes = texts(&log.consistency(from.size, to.size).await?);
    Ok(ConsistencyProof { from: from.into(), to: to.into(), hashes })
}

async fn count_proof(asking: &Asking, organization: OrganizationId) -> Result<CountProof, Problem> {
    asking.may_read_of(organization, Resource::Audit).await?;
    let log = asking.log();
    let newest = log.newest_checkpoint().await?.ok_or_else(unsigned)?;
    let proof = log.count_proof(organization.uuid(), newest.size).await?;
    let count = SafeInt(proof.count);
    Ok(CountProof { count, path: texts(&proof.path), checkpoint: newest.into() })
}
