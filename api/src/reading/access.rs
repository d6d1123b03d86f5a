//! Permission and scope of reads. Nothing here knows a role: one function of the domain decides.
//!
//! Each question is asked once in a request. What belongs to another organization does not exist
//! for whoever asks: the answer is the same as for an id that nobody has.

use super::Asking;
use crate::problem::{Code, Problem};
use commands::Failure;
use domain::access::{Action, Permission, Resource, Scope};
use domain::values::OrganizationId;
use projections::Projection as _;
use projections::directory::{self, Directory};
use tokio::sync::Mutex;

/// Questions that were answered within one request.
#[derive(Debug, Default)]
pub(crate) struct Permits(Mutex<Vec<Answered>>);

/// A question and its answer.
type Answered = (Permission, Scope, Result<(), Problem>);

impl Asking {
    /// A command may have changed who may what: later parts of the same document ask anew.
    pub(crate) async fn forget_permits(&self) {
        self.permits.0.lock().await.clear();
    }

    /// Whether the caller may do something now.
    pub(crate) async fn require(
        &self,
        resource: Resource,
        action: Action,
        scope: Scope,
    ) -> Result<(), Problem> {
        let permission = Permission::new(resource, action);
        // Held while asking: rows that ask the same at once wait for one answer.
        let mut known = self.permits.0.lock().await;
        let found = known.iter().find(|(p, s, _)| *p == permission && *s == scope);
        if let Some((_, _, answer)) = found {
            return answer.clone();
        }
        self.note_read();
        let executor = &self.services.executor;
        let answer = match executor.authorize(&self.caller, permission, scope).await {
            Ok(()) => Ok(()),
            Err(failure @ (Failure::Forbidden { .. } | Failure::Unauthenticated)) => {
                Err(failure.into())
            }
            // Not an answer, and nothing to remember.
            Err(failure) => return Err(failure.into()),
        };
        known.push((permission, scope, answer.clone()));
        answer
    }

    /// Whether the caller may look at something of the platform.
    pub(crate) async fn may_read(&self, resource: Resource) -> Result<(), Problem> {
        self.require(resource, Action::Read, Scope::Platform).await
    }

    /// Whether the caller may look at everybody's.
    pub(crate) async fn reads_all(&self, resource: Resource) -> Result<bool, Problem> {
        match self.may_read(resource).await {
            Ok(()) => Ok(true),
            Err(problem) if problem.code == Code::Forbidden => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Whether the caller may look at something of one organization. Who has no part in it is told
    /// that it does not exist.
    pub(crate) async fn may_read_of(
        &self,
        organization: OrganizationId,
        resource: Resource,
    ) -> Result<(), Problem> {
        if self.reads_all(resource).await? {
            return Ok(());
        }
        let scope = Scope::Organization(organization);
        match self.require(resource, Action::Read, scope).await {
            Err(problem) if problem.code == Code::Forbidden => {
                Err(self.hide(organization, problem).await)
            }
            other => other,
        }
    }

    /// Whose rows a list shows: of one organization, or of everybody.
    pub(crate) async fn scope(
        &self,
        organization: Option<OrganizationId>,
        resource: Resource,
    ) -> Result<projections::Scope, Problem> {
        if let Some(organization) = organization {
            self.may_read_of(organization, resource).await?;
            return Ok(projections::Scope::Organization(organization));
        }
        self.may_read(resource).await?;
        Ok(projections::Scope::Everything)
    }

    /// Whether the caller may look at what is on offer: who may read it for the platform, and
    /// whoever belongs to an organization, who may buy it.
    pub(crate) async fn may_browse(&self, resource: Resource) -> Result<(), Problem> {
        let forbidden = match self.may_read(resource).await {
            Err(problem) if problem.code == Code::Forbidden => problem,
            other => return other,
        };
        let Some(user_id) = self.caller.user_id() else { return Err(forbidden) };
        let pool = self.model(Directory::NAME).await?;
        for member in directory::memberships(pool, user_id).await? {
            let scope = Scope::Organization(member.organization_id);
            match self.require(Resource::Organizations, Action::Read, scope).await {
                Ok(()) => return Ok(()),
                Err(problem) if problem.code == Code::Forbidden => {}
                Err(problem) => return Err(problem),
            }
        }
        Err(forbidden)
    }

    /// Somebody we know asks.
    pub(crate) fn signed_in(&self) -> Result<(), Problem> {
        if self.caller.actor == domain::access::Actor::Anonymous {
            return Err(Failure::Unauthenticated.into());
        }
        Ok(())
    }

    /// Turns "you may not" into "there is none" for who has no part in an organization.
    pub(crate) async fn hide(&self, organization: OrganizationId, forbidden: Problem) -> Problem {
        for scope in [Scope::Platform, Scope::Organization(organization)] {
            match self.require(Resource::Organizations, Action::Read, scope).await {
                Ok(()) => return forbidden,
                Err(problem) if problem.code == Code::Forbidden => {}
                Err(problem) => return problem,
            }
        }
        Problem::not_found("organization", &organization.to_string())
    }
}
