//! What is offered: tiers with their versions, add-ons, credit packs.
//!
//! Prices may be seen by whoever may read billing, and by members of any organization.

mod publish;

pub(crate) use publish::CatalogueMutation;

use super::asking;
use super::scalars::{DateTime, Decimal, MoneyObject, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, view};
use async_graphql::{Context, Object, SimpleObject};
use domain::access::Resource;
use domain::catalogue::tier::{CallPricing, Limit, Terms};
use domain::values::Code;
use projections::Projection as _;
use projections::catalogue::{self, Catalogue};
use projections::directory::{self, Directory};

/// A tier with all its versions.
pub(crate) struct Tier {
    code: Code,
    versions: Vec<directory::TierVersion>,
}

/// A tier with all its versions, as of the moment that was asked for.
#[Object]
impl Tier {
    /// What people type.
    async fn code(&self) -> &str {
        self.code.as_str()
    }

    /// Every version that was published by then, oldest first.
    async fn versions(&self) -> Vec<TierVersion<'_>> {
        self.versions.iter().map(TierVersion).collect()
    }

    /// The newest version.
    async fn newest(&self) -> Option<TierVersion<'_>> {
        self.versions.last().map(TierVersion)
    }
}

/// One version of a tier. It never changes.
pub(crate) struct TierVersion<'a>(&'a directory::TierVersion);

/// One version of a tier. It never changes.
#[Object]
impl TierVersion<'_> {
    /// 1, 2, 3, …
    async fn version(&self) -> u32 {
        self.0.version
    }

    /// From when it is offered.
    async fn effective_from(&self) -> DateTime {
        DateTime(self.0.effective_from)
    }

    /// The name that people read.
    async fn name(&self) -> &str {
        self.terms().name.as_str()
    }

    /// Price of a month, when it is sold by the month.
    async fn price_month(&self) -> Option<MoneyObject> {
        self.terms().price_month.map(Into::into)
    }

    /// Price of a year, when it is sold by the year.
    async fn price_year(&self) -> Option<MoneyObject> {
        self.terms().price_year.map(Into::into)
    }

    /// API calls a month; null when there is no limit.
    async fn api_calls(&self) -> Option<SafeInt> {
        match self.terms().api_calls {
            Limit::AtMost(calls) => Some(SafeInt(i64::try_from(calls).unwrap_or(i64::MAX))),
            Limit::Unlimited => None,
        }
    }

    /// Seats.
    async fn seats(&self) -> u32 {
        self.terms().seats
    }

    /// Whether own provider keys may be used.
    async fn own_keys(&self) -> bool {
        self.terms().own_keys
    }

    /// Whether support answers first.
    async fn priority_support(&self) -> bool {
        self.terms().priority_support
    }

    /// Whether it is only given by invitation.
    async fn invite_only(&self) -> bool {
        self.terms().invite_only
    }

    /// Credits that come with a month; null when a contract says how many.
    async fn monthly_credits(&self) -> Option<Decimal> {
        self.terms().monthly_credits.map(Into::into)
    }

    /// How a model call is priced.
    async fn call_pricing(&self) -> CallPricingObject {
        CallPricingObject::from(self.terms().calls)
    }

    /// What is switched on.
    async fn features(&self) -> Vec<&str> {
        self.terms().features.iter().map(Code::as_str).collect()
    }
}

impl TierVersion<'_> {
    const fn terms(&self) -> &Terms {
        &self.0.terms
    }
}

/// How a model call is priced on a tier.
#[derive(SimpleObject)]
#[graphql(name = "CallPricing")]
pub(crate) struct CallPricingObject {
    /// Percent on top of the list price; null where the organization brings its own key.
    markup_percent: Option<u32>,
    /// Percent of the list price that a call with an own key costs.
    own_key_fee_percent: Option<u32>,
    /// At least so many credits a call with an own key.
    own_key_minimum_credits: Option<Decimal>,
}

impl From<CallPricing> for CallPricingObject {
    fn from(pricing: CallPricing) -> Self {
        match pricing {
            CallPricing::Markup { percent } => Self {
                markup_percent: Some(percent),
                own_key_fee_percent: None,
                own_key_minimum_credits: None,
            },
            CallPricing::OwnKeyFee { percent, minimum } => Self {
                markup_percent: None,
                own_key_fee_percent: Some(percent),
                own_key_minimum_credits: Some(minimum.into()),
            },
        }
    }
}

/// A limit of an add-on.
#[derive(SimpleObject)]
pub(crate) struct NamedLimit {
    /// Of what.
    code: String,
    /// How many at most.
    limit: SafeInt,
}

/// An add-on as it is offered now.
pub(crate) struct AddOn(catalogue::AddOn);

/// An add-on as it is offered now.
#[Object]
impl AddOn {
    /// What people type.
    async fn code(&self) -> &str {
        self.0.add_on.as_str()
    }

    /// The name that people read.
    async fn name(&self) -> &str {
        self.0.offer.name.as_str()
    }

    /// Price of a month.
    async fn price_month(&self) -> MoneyObject {
        self.0.offer.price_month.into()
    }

    /// What it includes.
    async fn limits(&self) -> Vec<NamedLimit> {
        let limit = |(code, limit): (&Code, &u64)| NamedLimit {
            code: code.to_string(),
            limit: SafeInt(i64::try_from(*limit).unwrap_or(i64::MAX)),
        };
        self.0.offer.limits.iter().map(limit).collect()
    }

    /// What it switches on.
    async fn features(&self) -> Vec<&str> {
        self.0.offer.features.iter().map(Code::as_str).collect()
    }
}

/// A credit pack as it is offered, or was.
pub(crate) struct CreditPack(catalogue::CreditPack);

/// A credit pack as it is offered, or was.
#[Object]
impl CreditPack {
    /// What people type.
    async fn code(&self) -> &str {
        self.0.credit_pack.as_str()
    }

    /// How many credits are in it.
    async fn credits(&self) -> Decimal {
        self.0.offer.credits.into()
    }

    /// What it costs.
    async fn price(&self) -> MoneyObject {
        self.0.offer.price.into()
    }

    /// The tiers it is sold to; without any, to all.
    async fn tiers(&self) -> Vec<&str> {
        self.0.offer.tiers.iter().map(Code::as_str).collect()
    }
}

#[derive(Default)]
pub(crate) struct CatalogueQuery;

#[Object]
impl CatalogueQuery {
    /// Every tier, now or as of a moment.
    async fn tiers(&self, ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Vec<Tier>, Problem> {
        tiers(asking(ctx)?, as_of).await
    }

    /// One tier, now or as of a moment.
    async fn tier(
        &self,
        ctx: &Context<'_>,
        code: Word<Code>,
        as_of: Option<AsOf>,
    ) -> Result<Tier, Problem> {
        tier(asking(ctx)?, code.0, as_of).await
    }

    /// Every add-on, now or as of a moment.
    async fn add_ons(&self, ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Vec<AddOn>, Problem> {
        let asking = asking(ctx)?;
        asking.may_browse(Resource::Billing).await?;
        let at = at_position(asking, as_of).await?;
        let rows = catalogue::add_ons(view(asking, Catalogue::NAME, at).await?).await?;
        Ok(rows.into_iter().map(AddOn).collect())
    }

    /// Every credit pack, now or as of a moment.
    async fn credit_packs(
        &self,
        ctx: &Context<'_>,
        as_of: Option<AsOf>,
    ) -> Result<Vec<CreditPack>, Problem> {
        let asking = asking(ctx)?;
        asking.may_browse(Resource::Billing).await?;
        let at = at_position(asking, as_of).await?;
        let rows = catalogue::credit_packs(view(asking, Catalogue::NAME, at).await?).await?;
        Ok(rows.into_iter().map(CreditPack).collect())
    }
}

async fn tiers(asking: &Asking, as_of: Option<AsOf>) -> Result<Vec<Tier>, Problem> {
    asking.may_browse(Resource::Billing).await?;
    let at = at_position(asking, as_of).await?;
    let view = view(asking, Directory::NAME, at).await?;
    let mut tiers: Vec<Tier> = Vec::new();
    for version in directory::tier_versions(view, None).await? {
        match tiers.last_mut() {
            Some(tier) if tier.code == version.tier => tier.versions.push(version),
            _ => tiers.push(Tier { code: version.tier.clone(), versions: vec![version] }),
        }
    }
    Ok(tiers)
}

async fn tier(asking: &Asking, code: Code, as_of: Option<AsOf>) -> Result<Tier, Problem> {
    asking.may_browse(Resource::Billing).await?;
    let versions = match at_position(asking, as_of).await? {
        None => {
            let pool = asking.model(Directory::NAME).await?;
            directory::tier_versions(pool, Some(&code)).await?
        }
        at => {
            let rows = fold::<Directory>(asking, "tier", code.as_str(), at).await?;
            rows.tiers.rows().into_iter().cloned().collect()
        }
    };
    if versions.is_empty() {
        return Err(Problem::not_found("tier", code.as_str()));
    }
    Ok(Tier { code, versions })
}
