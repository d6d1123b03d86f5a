//! Plans about people, keys, roles and the first administrator.

use super::{CLAIM_EMAIL, CLAIM_KEY, Planner};
use crate::command::{AccessCommand, NewKey};
use crate::failure::{Failure, Refusal};
use domain::Instant;
use domain::access::permission::{BUILT_IN_ROLES, Permission};
use domain::access::role::{self, Role};
use domain::identity::api_key::{self, ApiKey, ApiKeyCreated};
use domain::identity::user::{self, User, normal_address};
use domain::installation::{self, Installation, LogEpochOpened};
use domain::values::{ApiKeyId, Code, OrganizationId, Text, UserId};
use std::collections::BTreeSet;
use uuid::Uuid;

impl Planner<'_> {
    pub(super) async fn plan_access(&mut self, command: AccessCommand) -> Result<(), Failure> {
        use user::Command as It;
        match command {
            AccessCommand::SetupLinkIssue { token_hash, expires_at } => {
                let issue = installation::Command::IssueSetupLink { token_hash, expires_at };
                self.decide::<Installation>("", Uuid::nil(), issue).await
            }
            AccessCommand::SetupComplete { token, email, name, key } => {
                self.complete_setup(token, email, name, key).await
            }
            AccessCommand::LogEpochOpen { epoch, reason, signed_position, signed_note } => {
                self.open_epoch(LogEpochOpened { epoch, reason, signed_position, signed_note })
                    .await
            }
            AccessCommand::UserInvite { email, name } => {
                let user_id = UserId::new(self.id("user"));
                self.invite(user_id, email, name).await
            }
            AccessCommand::UserActivate { user_id } => self.user(user_id, It::Activate).await,
            AccessCommand::UserSuspend { user_id, reason } => {
                self.user(user_id, It::Suspend { reason }).await
            }
            AccessCommand::UserReactivate { user_id } => self.user(user_id, It::Reactivate).await,
            AccessCommand::UserDeactivate { user_id, reason } => {
                self.user(user_id, It::Deactivate { reason }).await
            }
            AccessCommand::UserRoleAssign { user_id, role } => {
                self.role_exists(&role).await?;
                self.user(user_id, It::AssignRole { role }).await
            }
            AccessCommand::UserRoleRemove { user_id, role } => {
                self.user(user_id, It::RemoveRole { role }).await
            }
            AccessCommand::PersonErase { user_id, ground, reference } => {
                self.erase(user_id, ground, reference).await
            }
            AccessCommand::PersonErasureFinish { user_id } => {
                self.user(user_id, It::FinishErasure).await
            }
            AccessCommand::RoleDefine { role, permissions } => {
                let id = role.to_string();
                let define = role::Command::Define { role, permissions };
                self.decide::<Role>(&id, Uuid::nil(), define).await
            }
            AccessCommand::RoleDelete { role } => {
                self.decide::<Role>(role.as_str(), Uuid::nil(), role::Command::Delete).await
            }
            AccessCommand::ApiKeyCreate {
                user_id,
                organization_id,
                name,
                scopes,
                expires_at,
                key,
            } => self.issue_key(user_id, organization_id, name, scopes, expires_at, key).await,
            AccessCommand::ApiKeyRevoke { api_key_id, reason } => {
                let (id, tenant) = self.key_tenant(api_key_id).await?;
                self.decide::<ApiKey>(&id, tenant, api_key::Command::Revoke { reason }).await
            }
            AccessCommand::ApiKeyRotate { api_key_id, overlap_seconds, key } => {
                self.rotate(api_key_id, overlap_seconds, key).await
            }
        }
    }

    async fn open_epoch(&mut self, opened: LogEpochOpened) -> Result<(), Failure> {
        let open = installation::Command::OpenEpoch(opened);
        self.decide::<Installation>("", Uuid::nil(), open).await
    }

    pub(super) async fn user(
        &mut self,
        user_id: UserId,
        command: user::Command,
    ) -> Result<(), Failure> {
        self.decide::<User>(&user_id.to_string(), Uuid::nil(), command).await
    }

    async fn invite(
        &mut self,
        user_id: UserId,
        email: String,
        name: String,
    ) -> Result<(), Failure> {
        if let Some(address) = normal_address(&email) {
            self.claim(CLAIM_EMAIL, &address, user_id.to_string());
        }
        self.user(user_id, user::Command::Invite { user_id, email, name }).await
    }

    async fn role_exists(&self, role: &Code) -> Result<(), Failure> {
        let known = BUILT_IN_ROLES.contains(&role.as_str())
            || self.read::<Role>(role.as_str()).await?.defined.is_some();
        if known {
            return Ok(());
        }
        Err(Refusal::Unknown { what: "role", name: role.to_string() }.into())
    }

    /// The token is checked first: without it nothing about anybody is decided.
    async fn complete_setup(
        &mut self,
        token: String,
        email: String,
        name: String,
        key: Option<NewKey>,
    ) -> Result<(), Failure> {
        let user_id = UserId::new(self.id("user"));
        let complete = installation::Command::CompleteSetup { token, user_id, at: self.now };
        self.decide::<Installation>("", Uuid::nil(), complete).await?;
        let admin: Code = "admin".parse().map_err(|e| Failure::Internal(Box::new(e)))?;
        let mut loaded = crate::loader::Loaded { state: User::default(), version: 0 };
        let mut events = Vec::new();
        if let Some(address) = normal_address(&email) {
            self.claim(CLAIM_EMAIL, &address, user_id.to_string());
        }
        for command in [
            user::Command::Invite { user_id, email, name },
            user::Command::Activate,
            user::Command::AssignRole { role: admin },
        ] {
            let decided = decide_next(&mut loaded.state, command)?;
            events.extend(decided);
        }
        loaded.state = User::default();
        self.write::<User>(&user_id.to_string(), Uuid::nil(), loaded, events).await?;
        let Some(key) = key else { return Ok(()) };
        let text = |text: &str| text.parse().map_err(|_| Failure::Busy);
        let created = ApiKeyCreated {
            api_key_id: ApiKeyId::new(self.id("api_key")),
            name: text("first key of the first administrator")?,
            public_part: key.public_part,
            secret_hash: key.secret_hash,
            user_id,
            organization_id: None,
            scopes: [].into(),
            expires_at: None,
        };
        self.create_key(created).await
    }

    async fn owner_exists(&self, user_id: UserId) -> Result<(), Failure> {
        let owner = self.read::<User>(&user_id.to_string()).await?;
        match owner.id {
            Some(_) if !owner.is_leaving_no_trace() => Ok(()),
            Some(_) | None => Err(Refusal::User(user::Refusal::NotFound).into()),
        }
    }

    async fn key_tenant(&self, api_key_id: ApiKeyId) -> Result<(String, Uuid), Failure> {
        let id = api_key_id.to_string();
        let key = self.read::<ApiKey>(&id).await?;
        let organization = key.created.and_then(|created| created.organization_id);
        Ok((id, organization.map_or(Uuid::nil(), |organization| organization.uuid())))
    }

    async fn issue_key(
        &mut self,
        user_id: UserId,
        organization_id: Option<OrganizationId>,
        name: Text,
        scopes: BTreeSet<Permission>,
        expires_at: Option<Instant>,
        key: NewKey,
    ) -> Result<(), Failure> {
        self.owner_exists(user_id).await?;
        let api_key_id = ApiKeyId::new(self.id("api_key"));
        let NewKey { public_part, secret_hash } = key;
        self.create_key(ApiKeyCreated {
            api_key_id,
            name,
            public_part,
            secret_hash,
            user_id,
            organization_id,
            scopes,
            expires_at,
        })
        .await
    }

    async fn create_key(&mut self, created: ApiKeyCreated) -> Result<(), Failure> {
        let id = created.api_key_id.to_string();
        let tenant =
            created.organization_id.map_or(Uuid::nil(), |organization| organization.uuid());
        let public_part = created.public_part.clone();
        self.claim(CLAIM_KEY, &public_part, id.clone());
        self.decide::<ApiKey>(&id, tenant, api_key::Command::Create(Box::new(created))).await
    }

    async fn rotate(
        &mut self,
        api_key_id: ApiKeyId,
        overlap_seconds: u32,
        key: NewKey,
    ) -> Result<(), Failure> {
        let (id, tenant) = self.key_tenant(api_key_id).await?;
        let old = self.read::<ApiKey>(&id).await?.created;
        let old = old.ok_or(Refusal::ApiKey(api_key::Refusal::NotFound))?;
        let replaced_by = ApiKeyId::new(self.id("api_key"));
        let valid_until = self.now + chrono::TimeDelta::seconds(i64::from(overlap_seconds));
        let rotate = api_key::Command::Rotate { replaced_by, valid_until };
        self.decide::<ApiKey>(&id, tenant, rotate).await?;
        let NewKey { public_part, secret_hash } = key;
        let api_key_id = replaced_by;
        self.create_key(ApiKeyCreated { api_key_id, public_part, secret_hash, ..old }).await
    }
}

/// Decides one command of several on a user that nobody else can know yet.
fn decide_next(state: &mut User, command: user::Command) -> Result<Vec<user::Event>, Failure> {
    use domain::Aggregate;
    let decided = state.decide(command).map_err(Refusal::from)?;
    *state = decided.iter().fold(std::mem::take(state), User::evolve);
    Ok(decided)
}
