//! The sealer: has signed checkpoints cosigned by witnesses, behind everything else.
//!
//! Four rules hold:
//!
//! * nothing that is appended or signed ever waits for a witness;
//! * everybody who is free is asked for the same checkpoint, because only cosignatures of one size
//!   make a quorum; the next one is chosen once it is sealed, or after a while;
//! * a witness that fails is asked again after a pause, which doubles up to a minute, and holds up
//!   none of the others;
//! * of several processes that share a log one asks. Asking twice does no harm.

use super::asking::{Asked, ask};
use super::{Witness, WitnessAddress, WitnessError, WitnessPolicy};
use crate::note::{KeyName, Note, VerifierKey};
use crate::tree::read::TreeError;
use crate::tree::signed::SignedCheckpoint;
use crate::{EventLog, lease_give_back, lease_take};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

/// Who asks, among the readers of the log.
const LEASE: &str = "witnesses";
const LEASE_LENGTH: Duration = Duration::from_secs(10);
/// How often it is looked whether something was signed: as often as something is.
const PACE: Duration = Duration::from_secs(1);
/// How long a checkpoint is asked for that is not sealed.
const TARGET_LENGTH: Duration = Duration::from_secs(60);
/// How long after a fault a witness is asked again: the first time, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How it is with one witness, as this process last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessStanding {
    /// Which.
    pub name: KeyName,
    /// The size of the last checkpoint that it cosigned for this process.
    pub size: Option<u64>,
    /// Why the last time it was asked gave no cosignature.
    pub fault: Option<String>,
    /// How often that happened.
    pub failures: u64,
}

/// How it is with the witnesses; can be cloned and asked at any time.
#[derive(Clone, Debug)]
pub struct Sealing {
    policy: Arc<WitnessPolicy>,
    standings: watch::Receiver<Vec<WitnessStanding>>,
}

impl Sealing {
    /// Which witnesses, and how many of them are enough.
    #[must_use]
    pub fn policy(&self) -> &WitnessPolicy {
        &self.policy
    }

    /// Each witness, in the order of the policy.
    #[must_use]
    pub fn standings(&self) -> Vec<WitnessStanding> {
        self.standings.borrow().clone()
    }
}

/// The sealer, running.
#[derive(Debug)]
pub struct Sealer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    sealing: Sealing,
}

impl Sealer {
    /// Starts it; `connect` makes what asks a witness.
    ///
    /// # Errors
    /// What `connect` says of an address.
    pub fn start<W: Witness + 'static>(
        log: &EventLog,
        policy: WitnessPolicy,
        connect: impl Fn(&WitnessAddress) -> Result<W, WitnessError>,
    ) -> Result<Self, WitnessError> {
        let (mut members, mut standings) = (Vec::new(), Vec::new());
        for (address, name) in policy.witnesses().iter().zip(policy.names()) {
            members.push(Member::new(address.keys.clone(), connect(address)?));
            let name = name.clone();
            standings.push(WitnessStanding { name, size: None, fault: None, failures: 0 });
        }
        let (stop, stopped) = watch::channel(false);
        let (tell, told) = watch::channel(standings);
        let policy = Arc::new(policy);
        let sealing = Sealing { policy: Arc::clone(&policy), standings: told };
        let worker = Worker {
            log: log.clone(),
            policy,
            owner: Uuid::now_v7().to_string(),
            members,
            target: None,
            running: JoinSet::new(),
            tell,
        };
        Ok(Self { stop, task: tokio::spawn(worker.run(stopped)), sealing })
    }

    /// For whoever wants to know.
    #[must_use]
    pub fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    /// Ends it. Who is being asked is not waited for: the next start asks again.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the sealer ended badly");
        }
    }
}

/// One witness, and how it is to be asked.
struct Member<W> {
    keys: Vec<VerifierKey>,
    witness: Arc<W>,
    /// The size it cosigned last, as far as is known.
    at: u64,
    is_busy: bool,
    not_before: Instant,
    pause: Duration,
}

impl<W> Member<W> {
    fn new(keys: Vec<VerifierKey>, witness: W) -> Self {
        let (witness, not_before) = (Arc::new(witness), Instant::now());
        Self { keys, witness, at: 0, is_busy: false, not_before, pause: PAUSE_MIN }
    }
}

/// The checkpoint that witnesses are asked for.
struct Target {
    size: u64,
    note: Arc<Note>,
    chosen: Instant,
    /// Which members have cosigned it.
    cosigned: BTreeSet<usize>,
}

struct Worker<W> {
    log: EventLog,
    policy: Arc<WitnessPolicy>,
    owner: String,
    members: Vec<Member<W>>,
    target: Option<Target>,
    running: JoinSet<(usize, Asked)>,
    tell: watch::Sender<Vec<WitnessStanding>>,
}

impl<W: Witness + 'static> Worker<W> {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "no witness is asked just now");
            }
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                Some(heard) = self.running.join_next(), if !self.running.is_empty() => {
                    self.heard(heard);
                }
                () = tokio::time::sleep(PACE) => {}
            }
        }
        self.running.abort_all();
        if let Err(error) = self.give_back().await {
            tracing::debug!(%error, "the lease on the witnesses runs out by itself");
        }
    }

    async fn give_back(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.log.pool().acquire().await?;
        lease_give_back(&mut connection, LEASE, &self.owner).await
    }

    /// Chooses what to ask for, and asks everybody who is free.
    async fn pass(&mut self) -> Result<(), TreeError> {
        // While history is in doubt nobody is shown it.
        if self.log.halted().is_some() {
            return Ok(());
        }
        let Some(newest) = self.log.newest_checkpoint().await? else { return Ok(()) };
        self.choose(&newest)?;
        let free = self.free();
        if free.is_empty() {
            return Ok(());
        }
        let mut connection = self.log.pool().acquire().await?;
        if !lease_take(&mut connection, LEASE, &self.owner, LEASE_LENGTH).await? {
            // Somebody else asks, and for what they have chosen.
            self.target = None;
            return Ok(());
        }
        drop(connection);
        free.into_iter().for_each(|member| self.send_out(member));
        Ok(())
    }

    fn choose(&mut self, newest: &SignedCheckpoint) -> Result<(), TreeError> {
        if self.target.as_ref().is_some_and(|target| !self.is_over(target, newest.size)) {
            return Ok(());
        }
        let note: Note = newest.note.parse().map_err(|_| TreeError::Damaged)?;
        let has_cosigned = |keys: &[VerifierKey]| !note.cosignatures(keys).is_empty();
        let members = self.members.iter().enumerate();
        let cosigned =
            members.filter(|(_, member)| has_cosigned(&member.keys)).map(|(at, _)| at).collect();
        let (size, chosen) = (newest.size, Instant::now());
        self.target = Some(Target { size, note: Arc::new(note), chosen, cosigned });
        Ok(())
    }

    /// Whether there is a newer one, and nothing more to wait for with this one.
    fn is_over(&self, target: &Target, newest: u64) -> bool {
        let is_sealed = target.cosigned.len() >= self.policy.quorum();
        // Who has cosigned more than this can never cosign this.
        let is_behind = self.members.iter().any(|member| member.at > target.size);
        newest != target.size
            && (is_sealed || is_behind || target.chosen.elapsed() >= TARGET_LENGTH)
    }

    /// Who can be asked now and has not cosigned yet.
    fn free(&self) -> Vec<usize> {
        let Some(target) = &self.target else { return Vec::new() };
        let now = Instant::now();
        let members = self.members.iter().enumerate();
        let free = members.filter(|(number, member)| {
            !member.is_busy && member.not_before <= now && !target.cosigned.contains(number)
        });
        free.map(|(number, _)| number).collect()
    }

    fn send_out(&mut self, number: usize) {
        let (Some(target), Some(member)) = (&self.target, self.members.get_mut(number)) else {
            return;
        };
        member.is_busy = true;
        let (log, note, size) = (self.log.clone(), Arc::clone(&target.note), target.size);
        let (witness, keys, at) = (Arc::clone(&member.witness), member.keys.clone(), member.at);
        self.running
            .spawn(async move { (number, ask(&log, &*witness, &keys, at, size, &note).await) });
    }

    fn heard(&mut self, heard: Result<(usize, Asked), JoinError>) {
        let (number, asked) = match heard {
            Ok(heard) => heard,
            Err(error) => {
                // Nobody knows who it was: everybody may be asked again.
                tracing::error!(%error, "asking a witness ended badly");
                self.members.iter_mut().for_each(|member| member.is_busy = false);
                return;
            }
        };
        let Some(member) = self.members.get_mut(number) else { return };
        (member.is_busy, member.at) = (false, asked.at);
        match &asked.result {
            Ok(()) => {
                (member.pause, member.not_before) = (PAUSE_MIN, Instant::now());
                let target = self.target.as_mut().filter(|target| target.size == asked.at);
                if let Some(target) = target {
                    target.cosigned.insert(number);
                }
            }
            Err(_) => {
                member.not_before = Instant::now() + member.pause;
                member.pause = (member.pause * 2).min(PAUSE_MAX);
            }
        }
        self.tell_of(number, &asked);
    }

    /// Says once that a witness fails, and once that it cosigns again.
    fn tell_of(&self, number: usize, asked: &Asked) {
        self.tell.send_modify(|standings| {
            let Some(standing) = standings.get_mut(number) else { return };
            let witness = standing.name.as_str();
            match &asked.result {
                Ok(()) => {
                    if standing.fault.take().is_some() {
                        tracing::info!(witness, "the witness cosigns again");
                    }
                    standing.size = Some(asked.at);
                }
                Err(error) => {
                    let fault = error.to_string();
                    if standing.fault.as_ref() != Some(&fault) {
                        tracing::warn!(witness, %error, "a checkpoint was not cosigned");
                    }
                    standing.failures += 1;
                    standing.fault = Some(fault);
                }
            }
        });
    }
}
