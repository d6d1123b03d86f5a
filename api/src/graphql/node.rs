//! `node`: anything that has an id, found by what its id begins with.

use super::access::{ApiKey, api_key};
use super::asking;
use super::commerce::{Purchase, purchase};
use super::identity::{User, user};
use super::metering::{Charge, charge};
use super::operations::{Service, ServiceAction, service, service_action};
use super::tenancy::{Organization, organization};
use crate::problem::{Code, Problem};
use crate::reading::{AsOf, Asking};
use async_graphql::{Context, ID, Interface, Object};
use domain::values::{
    ApiKeyId, ChargeId, IdError, OrganizationId, PurchaseId, ServiceActionId, ServiceId, UserId,
};

/// Anything that has an id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Opaque; what it begins with says of what kind."))]
pub(crate) enum Node {
    User(User),
    Organization(Organization),
    ApiKey(ApiKey),
    Purchase(Purchase),
    Charge(Charge),
    Service(Service),
    ServiceAction(ServiceAction),
}

#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Anything by its id, now or as of a moment.
    async fn node(&self, ctx: &Context<'_>, id: ID, as_of: Option<AsOf>) -> Result<Node, Problem> {
        node(asking(ctx)?, &id, as_of).await
    }
}

async fn node(asking: &Asking, id: &str, as_of: Option<AsOf>) -> Result<Node, Problem> {
    let bad = |error: IdError| Problem::input("id", error.to_string());
    match id.split_once('_').map_or("", |(prefix, _)| prefix) {
        UserId::PREFIX => user(asking, id.parse().map_err(bad)?, as_of).await.map(Node::User),
        OrganizationId::PREFIX => {
            let found = organization(asking, id.parse().map_err(bad)?, as_of).await;
            found.map(Node::Organization)
        }
        ApiKeyId::PREFIX => {
            api_key(asking, id.parse().map_err(bad)?, as_of).await.map(Node::ApiKey)
        }
        PurchaseId::PREFIX => {
            purchase(asking, id.parse().map_err(bad)?, as_of).await.map(Node::Purchase)
        }
        ServiceId::PREFIX => {
            service(asking, id.parse().map_err(bad)?, as_of).await.map(Node::Service)
        }
        ChargeId::PREFIX => {
            now_only(as_of, "bill")?;
            charge(asking, id.parse().map_err(bad)?).await.map(Node::Charge)
        }
        ServiceActionId::PREFIX => {
            now_only(as_of, "services")?;
            let found = service_action(asking, id.parse().map_err(bad)?).await;
            found.map(Node::ServiceAction)
        }
        _ => {
            let id: String = id.chars().take(60).collect();
            Err(Problem::input("id", format!("{id:?} is not an id that can be looked up")))
        }
    }
}

/// What is a part of a longer history is not answered for a past moment by its own id.
fn now_only(as_of: Option<AsOf>, read_model: &str) -> Result<(), Problem> {
    let message = format!(
        "this cannot be answered for a past moment; ask for the thing it belongs to, or run \
         `opscenter-replay read-model {read_model} --as-of MOMENT`"
    );
    match as_of {
        Some(_) => Err(Problem::new(Code::AsOfUnsupported, message)),
        None => Ok(()),
    }
}
