//! Plans about erasure, legal holds and retention.

use super::{CLAIM_EMAIL, Planner};
use crate::command::RetentionCommand;
use crate::failure::{Failure, Refusal};
use data_encoding::HEXLOWER;
use domain::Aggregate as _;
use domain::identity::user::{self, ErasureGround, Status, User};
use domain::retention::legal_hold::{self, HoldTarget, LegalHolds};
use domain::retention::policy::{self, PURGE_EVENTS_MAX, RecordKind, RetentionPolicy};
use domain::tenancy::Organization;
use domain::values::{Code, LegalHoldId, OrganizationId, Text, UserId};
use event_log::purge::{Purge, digest};
use event_log::{ClaimChange, StreamId};
use uuid::Uuid;

/// Where denials are recorded.
pub(crate) const DENIALS: (&str, &str) = ("security", "denials");

/// The name under which retention of the platform's own records is kept.
const PLATFORM: &str = "platform";

/// The id of the history of retention.
pub(crate) fn retention_id(organization_id: Option<OrganizationId>) -> String {
    organization_id.map_or_else(|| PLATFORM.to_owned(), |id| id.to_string())
}

impl Planner<'_> {
    pub(super) async fn plan_retention(
        &mut self,
        command: RetentionCommand,
    ) -> Result<(), Failure> {
        match command {
            RetentionCommand::LegalHoldPlace { target, reason } => {
                self.place_hold(target, reason).await
            }
            RetentionCommand::LegalHoldRelease { target, legal_hold_id, reason } => {
                let release = legal_hold::Command::Release { legal_hold_id, target, reason };
                self.holds(target, release).await
            }
            RetentionCommand::RetentionPolicySet { organization_id, kind, keep_days } => {
                self.organization_exists(organization_id).await?;
                let set = policy::Command::Set { organization_id, kind, keep_days };
                self.retention(organization_id, set).await
            }
            RetentionCommand::RetentionPurge { organization_id, kind } => {
                self.purge(organization_id, kind).await
            }
        }
    }

    /// Asks for a person's data to be destroyed. The address is free for somebody else from then
    /// on; its stand-in would tell whoever has the master key whether a guess at it is right.
    pub(super) async fn erase(
        &mut self,
        user_id: UserId,
        ground: ErasureGround,
        reference: Option<Code>,
    ) -> Result<(), Failure> {
        let user = self.read::<User>(&user_id.to_string()).await?;
        if user.id.is_some() && !user.is_leaving_no_trace() {
            self.nothing_holds(user_id).await?;
            let holder = user_id.to_string();
            let held = self.executor.log().claims_of(Uuid::nil(), CLAIM_EMAIL, &holder).await?;
            self.plan.claims.extend(held.into_iter().map(|value_hash| ClaimChange::Release {
                scope: CLAIM_EMAIL.to_owned(),
                value_hash,
                holder: holder.clone(),
            }));
        }
        self.user(user_id, user::Command::Erase { ground, reference }).await
    }

    /// No hold stands on the person, or on an organization that they belong to, and none is placed
    /// until the command takes effect: the holds of each are relied on, also where there were none.
    async fn nothing_holds(&mut self, user_id: UserId) -> Result<(), Failure> {
        self.nothing_holds_at(HoldTarget::User(user_id)).await?;
        // Before it is looked where they belong: nobody joins what is held in between, either.
        for (target, _) in self.executor.log().standing_holds().await? {
            if let Ok(HoldTarget::Organization(_)) = target.parse() {
                self.rely_on::<Organization>(&target).await?;
            }
        }
        let named = user_id.to_string();
        let log = self.executor.log();
        for stream in log.streams_naming(Organization::KIND, named.as_bytes()).await? {
            let organization = self.read::<Organization>(stream.id()).await?;
            if let (true, Ok(target)) =
                (organization.members.contains_key(&user_id), stream.id().parse())
            {
                self.nothing_holds_at(target).await?;
            }
        }
        Ok(())
    }

    async fn nothing_holds_at(&mut self, target: HoldTarget) -> Result<(), Failure> {
        let holds = self.rely_on::<LegalHolds>(&target.to_string()).await?;
        Ok(holds.allow_destruction(target).map_err(Refusal::from)?)
    }

    /// No hold stands over the records of an organization, or over the platform's own. One that is
    /// placed until the purge takes effect is seen by the log.
    async fn nothing_holds_records(&self, tenant: Uuid) -> Result<(), Failure> {
        let targets = self.executor.log().holds_over(tenant).await?;
        let mut targets = targets.iter().filter_map(|target| target.parse::<HoldTarget>().ok());
        let Some(target) = targets.next() else { return Ok(()) };
        let more = targets.count();
        let holds = self.read::<LegalHolds>(&target.to_string()).await?;
        let stands = holds.allow_destruction(target);
        Ok(stands.map_err(|first| match more {
            0 => Refusal::from(first),
            _ => legal_hold::Refusal::SeveralStand { first: Box::new(first), more }.into(),
        })?)
    }

    async fn place_hold(&mut self, target: HoldTarget, reason: Text) -> Result<(), Failure> {
        match target {
            HoldTarget::Organization(organization_id) => {
                self.organization_exists(Some(organization_id)).await?;
            }
            HoldTarget::User(user_id) => {
                let user = self.rely_on::<User>(&user_id.to_string()).await?;
                match user.status {
                    Status::Unknown => return Err(Refusal::User(user::Refusal::NotFound).into()),
                    Status::Erasing | Status::Erased => {
                        return Err(Refusal::from(legal_hold::Refusal::TooLate(user_id)).into());
                    }
                    Status::Invited | Status::Active | Status::Suspended | Status::Deactivated => {}
                }
            }
        }
        let legal_hold_id = LegalHoldId::new(self.id("legal_hold"));
        let place = legal_hold::Command::Place { legal_hold_id, target, reason };
        self.holds(target, place).await
    }

    async fn holds(
        &mut self,
        target: HoldTarget,
        command: legal_hold::Command,
    ) -> Result<(), Failure> {
        self.decide::<LegalHolds>(&target.to_string(), target.tenant(), command).await
    }

    async fn organization_exists(
        &self,
        organization_id: Option<OrganizationId>,
    ) -> Result<(), Failure> {
        let Some(organization_id) = organization_id else { return Ok(()) };
        let organization = self.read::<Organization>(&organization_id.to_string()).await?;
        match organization.tier {
            Some(_) => Ok(()),
            None => Err(Refusal::Organization(domain::tenancy::Refusal::NotFound).into()),
        }
    }

    async fn retention(
        &mut self,
        organization_id: Option<OrganizationId>,
        command: policy::Command,
    ) -> Result<(), Failure> {
        let tenant = organization_id.map_or(Uuid::nil(), OrganizationId::uuid);
        self.plan.tenant = tenant;
        self.decide::<RetentionPolicy>(&retention_id(organization_id), tenant, command).await
    }

    /// Purges what may go. The database checks all of it once more, under the lock of the log.
    async fn purge(
        &mut self,
        organization_id: Option<OrganizationId>,
        kind: RecordKind,
    ) -> Result<(), Failure> {
        let tenant = organization_id.map_or(Uuid::nil(), OrganizationId::uuid);
        let known = self.read::<RetentionPolicy>(&retention_id(organization_id)).await?;
        // By the log's time: what is due by a clock that is ahead of it would be refused.
        let now = self.executor.log().time().await?;
        let recorded_before = known.purgeable_before(kind, now).map_err(Refusal::from)?;
        self.nothing_holds_records(tenant).await?;
        let stream = StreamId::new(DENIALS.0, DENIALS.1)?;
        let log = self.executor.log();
        let due = log.purgeable(&stream, tenant, recorded_before, PURGE_EVENTS_MAX).await?;
        let positions: Vec<i64> = due.iter().map(|event| event.position).collect();
        let digest = digest(due.iter().map(|it| (it.position, it.event_id, &it.event_hash[..])));
        if !positions.is_empty() {
            let (kind, positions) = (kind.as_str().to_owned(), positions.clone());
            self.plan.purge = Some(Purge { tenant, kind, positions, digest });
        }
        let digest = HEXLOWER.encode(&digest);
        let purge =
            policy::Command::Purge { organization_id, kind, recorded_before, positions, digest };
        self.retention(organization_id, purge).await
    }
}
