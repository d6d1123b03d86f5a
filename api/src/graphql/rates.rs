//! What usage is priced by: meters, models with their prices, the rate card.

mod set;

pub(crate) use set::RatesMutation;

use super::asking;
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Decimal, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, view};
use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use domain::access::Resource;
use domain::catalogue::model::TokenPrice;
use domain::values::{Amount, Code, ModelName};
use projections::catalogue::{self, Catalogue};
use projections::{Projection as _, Walk};

/// How single records become one figure.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "domain::catalogue::meter::Aggregation")]
pub(crate) enum Aggregation {
    /// How many there were.
    Count,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
}

/// How much of a model's power a call asks for; the price follows.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "domain::catalogue::rate_card::PowerLevel")]
pub(crate) enum PowerLevel {
    /// The least.
    Eco,
    /// In between.
    Balanced,
    /// All of it, at list price.
    Precision,
}

/// A meter: what is counted.
pub(crate) struct Meter(catalogue::Meter);

/// A meter: what is counted.
#[Object]
impl Meter {
    /// What people type.
    async fn code(&self) -> &str {
        self.0.meter.as_str()
    }

    /// How single records become one figure.
    async fn aggregation(&self) -> Aggregation {
        self.0.aggregation.into()
    }

    /// The base unit of a quantity.
    async fn unit(&self) -> &str {
        self.0.unit.as_str()
    }
}

/// A price under its name.
#[derive(SimpleObject)]
pub(crate) struct NamedAmount {
    /// Whose: a meter, a provider, or the price list's own name.
    name: String,
    /// In dollars, or a factor.
    amount: Decimal,
}

fn named<'a, K: ToString + 'a>(
    amounts: impl IntoIterator<Item = (&'a K, &'a Amount)>,
) -> Vec<NamedAmount> {
    let named = |(name, amount): (&K, &Amount)| NamedAmount {
        name: name.to_string(),
        amount: (*amount).into(),
    };
    amounts.into_iter().map(named).collect()
}

/// Prices of one token for prompts above a length.
#[derive(SimpleObject)]
#[graphql(name = "TokenPrice")]
pub(crate) struct TokenPriceObject {
    /// Holds for prompts of more tokens than this.
    above: SafeInt,
    /// Dollars for one token in.
    input: Decimal,
    /// Dollars for one token out.
    output: Decimal,
}

/// A model and its newest prices.
pub(crate) struct Model(catalogue::Model);

/// A model and its newest prices.
#[Object]
impl Model {
    /// As its price list writes it.
    async fn name(&self) -> &str {
        self.0.model.as_str()
    }

    /// Who runs it.
    async fn provider(&self) -> &str {
        &self.0.provider
    }

    /// What it does, when the price list says.
    async fn mode(&self) -> Option<&str> {
        self.0.mode.as_deref()
    }

    /// The version of its entry.
    async fn version(&self) -> u32 {
        self.0.version
    }

    /// Token prices by prompt length, shortest first; empty when it is not sold by the token.
    async fn tokens(&self) -> Vec<TokenPriceObject> {
        let price = |price: &TokenPrice| TokenPriceObject {
            above: SafeInt(i64::try_from(price.above).unwrap_or(i64::MAX)),
            input: price.input.into(),
            output: price.output.into(),
        };
        self.0.entry.tokens.iter().map(price).collect()
    }

    /// Every price of the entry, in dollars, under the list's own name.
    async fn prices(&self) -> Vec<NamedAmount> {
        named(&self.0.entry.prices)
    }

    /// When it was priced.
    async fn priced_at(&self) -> DateTime {
        DateTime(self.0.priced_at)
    }
}

connection!(ModelConnection, ModelEdge of Model);

/// Which models.
#[derive(InputObject, Default, Clone)]
pub(crate) struct ModelFilter {
    /// Of one provider.
    provider: Option<String>,
}

/// One version of the rate card.
pub(crate) struct RateCard(catalogue::RateCard);

/// One version of the rate card.
#[Object]
impl RateCard {
    /// 1, 2, 3, …
    async fn version(&self) -> u32 {
        self.0.version
    }

    /// From when it holds.
    async fn effective_from(&self) -> DateTime {
        DateTime(self.0.effective_from)
    }

    /// What a power level multiplies the price by.
    async fn power(&self) -> Vec<NamedAmount> {
        let power = &self.0.rates.power;
        let named = |(level, amount): (&domain::catalogue::rate_card::PowerLevel, &Amount)| {
            NamedAmount { name: level.as_str().to_owned(), amount: (*amount).into() }
        };
        power.iter().map(named).collect()
    }

    /// Dollars for 1,000 tokens of a provider whose model is on no price list.
    async fn providers(&self) -> Vec<NamedAmount> {
        named(&self.0.rates.provider_per_1000_tokens)
    }

    /// The same for a provider that is not named.
    async fn unknown_provider(&self) -> Decimal {
        self.0.rates.unknown_per_1000_tokens.into()
    }

    /// Dollars for one unit of a meter.
    async fn meters(&self) -> Vec<NamedAmount> {
        named(&self.0.rates.meters)
    }
}

#[derive(Default)]
pub(crate) struct RatesQuery;

#[Object]
impl RatesQuery {
    /// Every meter, now or as of a moment.
    async fn meters(&self, ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Vec<Meter>, Problem> {
        let asking = asking(ctx)?;
        asking.may_browse(Resource::Settings).await?;
        let at = at_position(asking, as_of).await?;
        let rows = catalogue::meters(view(asking, Catalogue::NAME, at).await?).await?;
        Ok(rows.into_iter().map(Meter).collect())
    }

    /// One model, now or as of a moment.
    async fn model(
        &self,
        ctx: &Context<'_>,
        name: Word<ModelName>,
        as_of: Option<AsOf>,
    ) -> Result<Model, Problem> {
        model(asking(ctx)?, name.0, as_of).await
    }

    /// Models in the order of their names, now or as of a moment.
    async fn models(
        &self,
        ctx: &Context<'_>,
        as_of: Option<AsOf>,
        r#where: Option<ModelFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<ModelConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        models(asking(ctx)?, as_of, r#where.unwrap_or_default(), page).await
    }

    /// The rate card: its newest version, now or as of a moment, or the one of a number.
    async fn rate_card(
        &self,
        ctx: &Context<'_>,
        version: Option<u32>,
        as_of: Option<AsOf>,
    ) -> Result<Option<RateCard>, Problem> {
        rate_card(asking(ctx)?, version, as_of).await
    }
}

async fn model(asking: &Asking, name: ModelName, as_of: Option<AsOf>) -> Result<Model, Problem> {
    asking.may_browse(Resource::Models).await?;
    let found = match at_position(asking, as_of).await? {
        None => catalogue::model(asking.model(Catalogue::NAME).await?, &name).await?,
        at => {
            let rows = fold::<Catalogue>(asking, "model", name.as_str(), at).await?;
            rows.models.rows().into_iter().next().cloned()
        }
    };
    found.map(Model).ok_or_else(|| Problem::not_found("model", name.as_str()))
}

async fn models(
    asking: &Asking,
    as_of: Option<AsOf>,
    filter: ModelFilter,
    page: PageArguments,
) -> Result<ModelConnection, Problem> {
    asking.may_browse(Resource::Models).await?;
    let plan = page.plan::<ModelName>(ListOrder::Ascending)?;
    let at = at_position(asking, as_of).await?;
    let (then, provider) = (view(asking, Catalogue::NAME, at).await?, filter.provider);
    let rows = catalogue::models(then, provider.as_deref(), &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.model.clone(), Model);
    Ok(ModelConnection::new(page, move |asking, most| {
        let provider = provider.clone();
        Box::pin(async move {
            let then = view(asking, Catalogue::NAME, at).await?;
            let walk = Walk::ascending(most);
            Ok(catalogue::models(then, provider.as_deref(), &walk).await?.len())
        })
    }))
}

async fn rate_card(
    asking: &Asking,
    version: Option<u32>,
    as_of: Option<AsOf>,
) -> Result<Option<RateCard>, Problem> {
    asking.may_browse(Resource::Billing).await?;
    let at = at_position(asking, as_of).await?;
    let rows = catalogue::rate_cards(view(asking, Catalogue::NAME, at).await?).await?;
    let found = match version {
        Some(version) => rows.into_iter().find(|row| row.version == version),
        None => rows.into_iter().last(),
    };
    Ok(found.map(RateCard))
}

/// The meter of a code.
async fn meter_by_code(
    pool: &sqlx::PgPool,
    code: &Code,
) -> Result<Option<catalogue::Meter>, Problem> {
    Ok(catalogue::meters(pool).await?.into_iter().find(|row| row.meter == *code))
}
