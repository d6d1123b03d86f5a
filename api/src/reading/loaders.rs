//! Things that many rows of one answer point to, read together.
//!
//! Made anew for every request, so that nobody is ever shown what was read for somebody else.
//! Whether the caller may see a thing is asked before it is loaded.

use crate::problem::Problem;
use async_graphql::dataloader::{DataLoader, Loader};
use domain::values::{OrganizationId, UserId};
use projections::directory;
use sqlx::PgPool;
use std::collections::HashMap;

/// What a request loads together.
pub(crate) struct Loaders {
    pub(crate) directory: DataLoader<Directory>,
}

impl Loaders {
    pub(crate) fn new(pool: &PgPool) -> Self {
        Self { directory: DataLoader::new(Directory { pool: pool.clone() }, tokio::spawn) }
    }
}

/// Reads rows of the directory by their ids.
pub(crate) struct Directory {
    pool: PgPool,
}

impl Loader<UserId> for Directory {
    type Value = directory::User;
    type Error = Problem;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, directory::User>, Problem> {
        let rows = directory::users_by_id(&self.pool, ids).await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
    }
}

impl Loader<OrganizationId> for Directory {
    type Value = directory::Organization;
    type Error = Problem;

    async fn load(
        &self,
        ids: &[OrganizationId],
    ) -> Result<HashMap<OrganizationId, directory::Organization>, Problem> {
        let rows = directory::organizations_by_id(&self.pool, ids).await?;
        Ok(rows.into_iter().map(|row| (row.organization_id, row)).collect())
    }
}
