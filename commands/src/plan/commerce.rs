//! Plans about purchases. A refund touches two histories at once: money goes back only together
//! with the credits, in one append.

use super::{CLAIM_REFERENCE, Planner};
use crate::command::PurchaseCommand;
use crate::failure::{Failure, Refusal};
use domain::Aggregate;
use domain::catalogue::credit_pack::CreditPack;
use domain::commerce::purchase::{self, Event, Purchase, PurchaseInitiated, Stage};
use domain::credits;
use domain::values::{Code, Credits, OrganizationId, PurchaseId, RefundId, Text};
use uuid::Uuid;

impl Planner<'_> {
    pub(super) async fn plan_commerce(&mut self, command: PurchaseCommand) -> Result<(), Failure> {
        use purchase::Command as C;
        match command {
            PurchaseCommand::PurchaseInitiate { organization_id, credit_pack } => {
                let initiated = self.offer(organization_id, credit_pack).await?;
                let id = initiated.purchase_id.to_string();
                let initiate = C::Initiate(Box::new(initiated));
                self.decide::<Purchase>(&id, organization_id.uuid(), initiate).await
            }
            PurchaseCommand::PurchasePay { purchase_id, amount, reference } => {
                // One transfer pays one purchase: its reference is taken with it.
                self.claim(CLAIM_REFERENCE, reference.as_str(), purchase_id.to_string());
                self.purchase(purchase_id, C::Pay { amount, reference }).await
            }
            PurchaseCommand::PurchaseFulfil { purchase_id, grant_id } => {
                self.purchase(purchase_id, C::Fulfil { grant_id }).await
            }
            PurchaseCommand::PurchaseFail { purchase_id, reason } => {
                self.purchase(purchase_id, C::Fail { reason }).await
            }
            PurchaseCommand::PurchaseRefund { purchase_id, credits, reason } => {
                self.refund(purchase_id, credits, reason).await
            }
        }
    }

    async fn offer(
        &self,
        organization_id: OrganizationId,
        credit_pack: Code,
    ) -> Result<PurchaseInitiated, Failure> {
        let organization = self.existing(organization_id).await?;
        let pack = self.read::<CreditPack>(credit_pack.as_str()).await?;
        let offer = pack
            .offer
            .ok_or_else(|| Refusal::from(purchase::Refusal::NoSuchPack(credit_pack.clone())))?;
        if let Some((tier, _)) = organization.tier
            && !offer.tiers.is_empty()
            && !offer.tiers.contains(&tier)
        {
            return Err(Refusal::from(purchase::Refusal::NotSold { credit_pack, tier }).into());
        }
        Ok(PurchaseInitiated {
            purchase_id: PurchaseId::new(self.id("purchase")),
            organization_id,
            credit_pack,
            credits: offer.credits,
            price: offer.price,
            worth: offer.credits.worth(),
        })
    }

    async fn purchase(
        &mut self,
        purchase_id: PurchaseId,
        command: purchase::Command,
    ) -> Result<(), Failure> {
        let id = purchase_id.to_string();
        let known = self.read::<Purchase>(&id).await?;
        let tenant = known.initiated.map_or(Uuid::nil(), |begun| begun.organization_id.uuid());
        self.decide::<Purchase>(&id, tenant, command).await
    }

    async fn refund(
        &mut self,
        purchase_id: PurchaseId,
        credits: Option<Credits>,
        reason: Text,
    ) -> Result<(), Failure> {
        let id = purchase_id.to_string();
        let purchase = self.read::<Purchase>(&id).await?;
        let refund_id = RefundId::new(self.id("refund"));
        let refund = purchase::Command::Refund { refund_id, credits, reason: reason.clone() };
        let decided = purchase.decide(refund.clone()).map_err(Refusal::from)?;
        let Some(begun) = &purchase.initiated else {
            return Err(Refusal::from(purchase::Refusal::NotFound).into());
        };
        let organization_id = begun.organization_id;
        self.decide::<Purchase>(&id, organization_id.uuid(), refund).await?;
        let Stage::Fulfilled { grant_id, .. } = purchase.stage else {
            return Ok(());
        };
        for event in decided {
            if let Event::PurchaseRefunded(back) = event {
                let (credits, reason) = (back.credits, reason.clone());
                let void = credits::Command::Void { grant_id, credits, reason, at: self.now };
                self.account(organization_id, void).await?;
            }
        }
        Ok(())
    }
}
