//! Who asks and may they: authentication by API key, and the inputs of [`domain::access::decide`].
//!
//! Everything is read from the log as it is now, so that a suspended user, a revoked key or a
//! suspended organization stops at once, on every server.

use crate::caller::{Caller, KeyLimits};
use crate::command::{Command, Right};
use crate::executor::Executor;
use crate::failure::Failure;
use crate::loader::Freshness;
use crate::plan::CLAIM_KEY;
use domain::access::permission::built_in_permissions;
use domain::access::role::Role;
use domain::access::{Action, Actor, Decision, Grants, Permission, Resource, Scope, decide};
use domain::identity::api_key::{ApiKey, PrintedKey};
use domain::identity::user::{Status, User, normal_address};
use domain::retention::{HoldTarget, LegalHolds, RetentionPolicy};
use domain::tenancy::{Organization, OrganizationRole};
use domain::values::{ApiKeyId, OrganizationId, UserId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Answers questions of access for one executor.
pub(crate) struct Authority<'a> {
    executor: &'a Executor,
}

impl Executor {
    /// Says whom a printed API key belongs to.
    ///
    /// # Errors
    /// [`Failure::Unauthenticated`] for anything that is not a key that works now; it does not say
    /// which of the reasons it is.
    pub async fn authenticate(&self, printed_key: &str) -> Result<Caller, Failure> {
        let printed = PrintedKey::parse(printed_key).ok_or(Failure::Unauthenticated)?;
        let value = self.inner.keys.blind(CLAIM_KEY, printed.public_part.as_bytes());
        let holder = self.inner.log.claim_holder(Uuid::nil(), CLAIM_KEY, &value).await?;
        let holder = holder.ok_or(Failure::Unauthenticated)?;
        let key = self.inner.loader.load::<ApiKey>(&holder, Freshness::Now).await?.state;
        let now = self.inner.clock.now();
        let created = match &key.created {
            Some(created) if key.has_secret(&printed.secret) && key.works_at(now) => created,
            Some(_) | None => return Err(Failure::Unauthenticated),
        };
        let (api_key_id, user_id) = (created.api_key_id, created.user_id);
        let mut caller = Caller::of(Actor::ApiKey { api_key_id, user_id });
        caller.limits = KeyLimits {
            scopes: created.scopes.clone(),
            only_organization: created.organization_id,
        };
        Ok(caller)
    }

    /// Whether a caller may do something now.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] with the reason, or that it could not be read.
    pub async fn authorize(
        &self,
        caller: &Caller,
        permission: Permission,
        scope: Scope,
    ) -> Result<(), Failure> {
        Authority::new(self).require(caller, permission, scope).await
    }

    /// The organization that a short name stands for.
    ///
    /// # Errors
    /// That it could not be read.
    pub async fn organization_named(&self, slug: &str) -> Result<Option<OrganizationId>, Failure> {
        let value = self.inner.keys.blind(crate::plan::CLAIM_SLUG, slug.as_bytes());
        let scope = crate::plan::CLAIM_SLUG;
        let holder = self.inner.log.claim_holder(Uuid::nil(), scope, &value).await?;
        Ok(holder.and_then(|holder| holder.parse().ok()))
    }

    /// The legal holds on a person or an organization.
    ///
    /// # Errors
    /// That it could not be read.
    pub async fn legal_holds(&self, target: HoldTarget) -> Result<LegalHolds, Failure> {
        let id = target.to_string();
        Ok(self.inner.loader.load::<LegalHolds>(&id, Freshness::Now).await?.state)
    }

    /// For how long things of an organization, or of the platform itself, are kept.
    ///
    /// # Errors
    /// That it could not be read.
    pub async fn retention_policy(
        &self,
        organization_id: Option<OrganizationId>,
    ) -> Result<RetentionPolicy, Failure> {
        let id = crate::plan::retention_id(organization_id);
        Ok(self.inner.loader.load::<RetentionPolicy>(&id, Freshness::Now).await?.state)
    }

    /// The user with an e-mail address.
    ///
    /// # Errors
    /// That it could not be read.
    pub async fn user_addressed(&self, address: &str) -> Result<Option<UserId>, Failure> {
        let Some(address) = normal_address(address) else { return Ok(None) };
        let scope = crate::plan::CLAIM_EMAIL;
        let value = self.inner.keys.blind(scope, address.as_bytes());
        let holder = self.inner.log.claim_holder(Uuid::nil(), scope, &value).await?;
        Ok(holder.and_then(|holder| holder.parse().ok()))
    }
}

impl<'a> Authority<'a> {
    pub(crate) const fn new(executor: &'a Executor) -> Self {
        Self { executor }
    }

    /// Whether the caller may ask this command.
    pub(crate) async fn permit(&self, caller: &Caller, command: &Command) -> Result<(), Failure> {
        match command.right() {
            Right::TokenInside => Ok(()),
            Right::Permission(permission, scope) => self.require(caller, permission, scope).await,
            Right::SystemOnly => match caller.actor {
                Actor::System { .. } => Ok(()),
                Actor::User { .. } | Actor::ApiKey { .. } | Actor::Anonymous => {
                    Err(forbidden(Resource::Settings, Action::Execute, "only the system asks this"))
                }
            },
            Right::NewKeyFor(user_id, organization) => {
                self.permit_new_key(caller, user_id, organization).await
            }
            Right::OfKey(api_key_id, action) => {
                self.permit_key_change(caller, api_key_id, action).await
            }
        }
    }

    pub(crate) async fn require(
        &self,
        caller: &Caller,
        permission: Permission,
        scope: Scope,
    ) -> Result<(), Failure> {
        if caller.actor == Actor::Anonymous {
            return Err(Failure::Unauthenticated);
        }
        let grants = self.grants(caller, scope).await?;
        match decide(&grants, permission, scope) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) => Err(Failure::Forbidden { permission, reason }),
        }
    }

    /// A key acts for its user: only the person themself, with nothing narrower than their own
    /// rights in hand, or an administrator may make one.
    async fn permit_new_key(
        &self,
        caller: &Caller,
        user_id: UserId,
        organization: Option<OrganizationId>,
    ) -> Result<(), Failure> {
        let own = caller.user_id() == Some(user_id) && caller.limits == KeyLimits::default();
        if !own {
            let administer = Permission::new(Resource::ApiKeys, Action::Execute);
            return self.require(caller, administer, Scope::Platform).await;
        }
        let scope = organization.map_or(Scope::Platform, Scope::Organization);
        let grants = self.grants(caller, scope).await?;
        let belongs = organization.is_none_or(|id| grants.memberships.contains_key(&id));
        if grants.active && belongs {
            return Ok(());
        }
        Err(forbidden(Resource::ApiKeys, Action::Write, "a key of one's own is for an active user"))
    }

    async fn permit_key_change(
        &self,
        caller: &Caller,
        api_key_id: ApiKeyId,
        action: Action,
    ) -> Result<(), Failure> {
        let loader = &self.executor.inner.loader;
        let key = loader.load::<ApiKey>(&api_key_id.to_string(), Freshness::Now).await?.state;
        let owner = key.created.as_ref().map(|created| created.user_id);
        let organization = key.created.and_then(|created| created.organization_id);
        if owner.is_some() && owner == caller.user_id() && caller.limits == KeyLimits::default() {
            let grants = self.grants(caller, Scope::Platform).await?;
            if grants.active {
                return Ok(());
            }
        }
        // A rotation gives a secret that acts for the key's user; taking a key away does not.
        let rotates = action == Action::Write;
        let permission =
            Permission::new(Resource::ApiKeys, if rotates { Action::Execute } else { action });
        let scope = match organization {
            Some(organization) if !rotates => Scope::Organization(organization),
            Some(_) | None => Scope::Platform,
        };
        self.require(caller, permission, scope).await
    }

    /// Whether the caller may make and unmake owners of an organization.
    pub(crate) async fn acts_as_owner(
        &self,
        caller: &Caller,
        organization: OrganizationId,
    ) -> Result<bool, Failure> {
        let grants = self.grants(caller, Scope::Organization(organization)).await?;
        let administer = Permission::new(Resource::Organizations, Action::Execute);
        let owner = grants.memberships.get(&organization) == Some(&OrganizationRole::Owner);
        Ok(grants.system || owner || grants.platform.contains(&administer))
    }

    /// What the caller holds now.
    pub(crate) async fn grants(&self, caller: &Caller, scope: Scope) -> Result<Grants, Failure> {
        let Some(user_id) = caller.user_id() else {
            let system = matches!(caller.actor, Actor::System { .. });
            return Ok(Grants { system, ..Grants::default() });
        };
        let loader = &self.executor.inner.loader;
        let user = loader.load::<User>(&user_id.to_string(), Freshness::Now).await?.state;
        let mut grants = Grants {
            active: user.status == Status::Active && self.key_works(caller).await?,
            scopes: caller.limits.scopes.clone(),
            only_organization: caller.limits.only_organization,
            ..Grants::default()
        };
        for role in &user.roles {
            grants.platform.extend(self.permissions_of(role).await?);
        }
        if let Scope::Organization(organization) = scope {
            let id = organization.to_string();
            let state = loader.load::<Organization>(&id, Freshness::Now).await?.state;
            // In the name of a suspended or closed organization nobody may do anything.
            let stands = state.status == domain::tenancy::organization::Status::Active;
            if let Some(role) = state.members.get(&user_id).filter(|_| stands) {
                grants.memberships.insert(organization, *role);
            }
        }
        Ok(grants)
    }

    async fn key_works(&self, caller: &Caller) -> Result<bool, Failure> {
        let Actor::ApiKey { api_key_id, .. } = &caller.actor else {
            return Ok(true);
        };
        let loader = &self.executor.inner.loader;
        let key = loader.load::<ApiKey>(&api_key_id.to_string(), Freshness::Now).await?.state;
        Ok(key.works_at(self.executor.inner.clock.now()))
    }

    async fn permissions_of(
        &self,
        role: &domain::values::Code,
    ) -> Result<BTreeSet<Permission>, Failure> {
        if let Some(permissions) = built_in_permissions(role) {
            return Ok(permissions);
        }
        let loader = &self.executor.inner.loader;
        let defined = loader.load::<Role>(role.as_str(), Freshness::Now).await?.state.defined;
        Ok(defined.map(|(_, permissions)| permissions).unwrap_or_default())
    }
}

const fn forbidden(resource: Resource, action: Action, reason: &'static str) -> Failure {
    Failure::Forbidden { permission: Permission::new(resource, action), reason }
}
