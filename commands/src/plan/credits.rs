//! Plans about credits.

use super::Planner;
use crate::command::CreditCommand;
use crate::failure::{Failure, Refusal};
use domain::credits::{self, Account, CreditsGranted};
use domain::tenancy::Organization;
use domain::values::{GrantId, HoldId, OrganizationId, SpendId};

impl Planner<'_> {
    pub(super) async fn plan_credits(&mut self, command: CreditCommand) -> Result<(), Failure> {
        use credits::Command as C;
        let at = self.now;
        match command {
            CreditCommand::CreditGrant {
                organization_id,
                credits,
                kind,
                source,
                priority,
                effective_at,
                expires_at,
            } => {
                self.existing(organization_id).await?;
                let grant = Box::new(CreditsGranted {
                    grant_id: GrantId::new(self.id("grant")),
                    credits,
                    kind,
                    source,
                    priority,
                    effective_at,
                    expires_at,
                });
                self.account(organization_id, C::Grant { grant, at }).await
            }
            CreditCommand::CreditVoid { organization_id, grant_id, credits, reason } => {
                self.account(organization_id, C::Void { grant_id, credits, reason, at }).await
            }
            CreditCommand::CreditSpend { organization_id, credits, reason } => {
                let spend_id = SpendId::new(self.id("spend"));
                self.account(organization_id, C::Spend { spend_id, credits, reason, at }).await
            }
            CreditCommand::CreditHoldPlace { organization_id, credits, seconds, reason } => {
                let hold_id = HoldId::new(self.id("hold"));
                let expires_at = at + chrono::TimeDelta::seconds(i64::from(seconds));
                let place = C::PlaceHold { hold_id, credits, expires_at, reason, at };
                self.account(organization_id, place).await
            }
            CreditCommand::CreditHoldCapture { organization_id, hold_id, credits } => {
                self.account(organization_id, C::CaptureHold { hold_id, credits, at }).await
            }
            CreditCommand::CreditHoldRelease { organization_id, hold_id } => {
                self.account(organization_id, C::ReleaseHold { hold_id, at }).await
            }
            CreditCommand::CreditExpireDue { organization_id } => {
                self.account(organization_id, C::ExpireDue { at }).await
            }
            CreditCommand::UsageCharge { organization_id, charge, .. } => {
                self.account(organization_id, C::ChargeUsage { charge, at }).await
            }
        }
    }

    pub(super) async fn account(
        &mut self,
        organization_id: OrganizationId,
        command: credits::Command,
    ) -> Result<(), Failure> {
        let id = organization_id.to_string();
        self.decide::<Account>(&id, organization_id.uuid(), command).await
    }

    /// Nobody gives credits to an organization that does not exist.
    pub(super) async fn existing(
        &self,
        organization_id: OrganizationId,
    ) -> Result<Organization, Failure> {
        let organization = self.read::<Organization>(&organization_id.to_string()).await?;
        if organization.id.is_none() {
            return Err(Refusal::Organization(domain::tenancy::Refusal::NotFound).into());
        }
        Ok(organization)
    }
}
