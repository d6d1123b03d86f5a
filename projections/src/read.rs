//! Reading rows: one way for all read models.
//!
//! Rows come back as JSON objects of their columns, so that a row is declared once and a new
//! generation behind the view never upsets a prepared statement. Lists are read in pages that begin
//! after a key, never by counting rows off.

use crate::table::{Row, Temporal};
use crate::walk::Walk;
use domain::values::OrganizationId;
use event_log::Position;
use serde::de::DeserializeOwned;
use sqlx::{PgPool, Postgres, QueryBuilder};

/// Why a read model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer, or the read model is not there.
    #[error("the read model cannot be read just now; try again")]
    Unavailable(#[from] sqlx::Error),
    /// A row is not of the shape this program knows.
    #[error("a row of {table} has another shape than this program knows; rebuild the read model")]
    Shape {
        /// Which table.
        table: &'static str,
        /// What the reader said.
        source: serde_json::Error,
    },
}

/// Whose rows are asked for. Taken from the verified caller, never from what a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Rows of every organization and of the platform itself.
    Everything,
    /// Rows of one organization only.
    Organization(OrganizationId),
}

/// What is read: the rows as they are, or as they were when the log ended at a position, with the
/// event there. Where a function takes one, the connections alone stand for now.
///
/// Whoever asks for the past makes sure that the read model is as far as that.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) pool: &'a PgPool,
    pub(crate) at: Option<Position>,
}

impl<'a> View<'a> {
    /// As of a position; of now when there is none.
    #[must_use]
    pub const fn at(pool: &'a PgPool, at: Option<Position>) -> Self {
        Self { pool, at }
    }
}

impl<'a> From<&'a PgPool> for View<'a> {
    fn from(pool: &'a PgPool) -> Self {
        Self { pool, at: None }
    }
}

/// The most rows of one page.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// A query for rows, put together from conditions.
pub(crate) struct Select {
    what: &'static str,
    query: QueryBuilder<Postgres>,
    has_condition: bool,
}

impl Select {
    /// All rows of a table.
    pub(crate) fn from<R: Row>() -> Self {
        let name = R::SPEC.name;
        let mut select = Self::of(name, "select row_to_json(t)::text from read_model.");
        select.query.push(name).push(" t");
        select
    }

    /// All rows of a table as they are in a view.
    pub(crate) fn of_view<R: Temporal>(view: View<'_>) -> Self {
        Self::over::<R>(view, "select row_to_json(t)::text")
    }

    /// JSON objects made of the rows of a table as they are in a view.
    pub(crate) fn over<R: Temporal>(view: View<'_>, what: &'static str) -> Self {
        let mut select = Self::of(R::SPEC.name, what);
        let (Some(at), Some(history)) = (view.at, R::SPEC.history) else {
            select.query.push(" from read_model.").push(R::SPEC.name).push(" t");
            return select;
        };
        let columns: Vec<&str> = R::SPEC.columns.iter().map(|(column, _)| *column).collect();
        select.query.push(" from (select ");
        select.query.push(columns.join(", ")).push(" from read_model.").push(history.name);
        // In the words of the index on it.
        select.query.push(" where int8range(valid_from, valid_to) @> ").push_bind(at);
        select.query.push("::bigint) t");
        select
    }

    /// JSON objects made by a query of one's own, up to where its conditions go.
    pub(crate) fn of(what: &'static str, sql: &'static str) -> Self {
        Self { what, query: QueryBuilder::new(sql), has_condition: false }
    }

    /// Only rows for which `condition`, a text that ends where the value goes, holds.
    pub(crate) fn and<'v, T>(mut self, condition: &'static str, value: T) -> Self
    where
        T: 'v + sqlx::Encode<'v, Postgres> + sqlx::Type<Postgres>,
    {
        self.begin_condition();
        self.then(condition, value)
    }

    fn begin_condition(&mut self) {
        self.query.push(if self.has_condition { " and " } else { " where " });
        self.has_condition = true;
    }

    /// The same, when there is a value.
    pub(crate) fn and_if<'v, T>(self, condition: &'static str, value: Option<T>) -> Self
    where
        T: 'v + sqlx::Encode<'v, Postgres> + sqlx::Type<Postgres>,
    {
        match value {
            Some(value) => self.and(condition, value),
            None => self,
        }
    }

    /// One more text and value of the same condition.
    pub(crate) fn then<'v, T>(mut self, sql: &'static str, value: T) -> Self
    where
        T: 'v + sqlx::Encode<'v, Postgres> + sqlx::Type<Postgres>,
    {
        self.query.push(sql).push_bind(value);
        self
    }

    /// One more text.
    pub(crate) fn text(mut self, sql: &'static str) -> Self {
        self.query.push(sql);
        self
    }

    /// Only rows in a scope.
    pub(crate) fn within(self, scope: Scope) -> Self {
        match scope {
            Scope::Everything => self,
            Scope::Organization(organization) => {
                self.and("organization_id = ", organization.to_string())
            }
        }
    }

    /// The rows that a walk along a column meets, in the order in which it meets them.
    pub(crate) async fn walk<'v, T, K>(
        mut self,
        pool: &PgPool,
        column: &'static str,
        walk: &Walk<K>,
    ) -> Result<Vec<T>, ReadError>
    where
        T: DeserializeOwned,
        K: 'v + Clone + sqlx::Encode<'v, Postgres> + sqlx::Type<Postgres>,
    {
        if let Some(key) = walk.beyond.clone() {
            self.begin_condition();
            self.query.push(column).push(walk.direction.either(" > ", " < ")).push_bind(key);
        }
        self.query.push(" order by ").push(column).push(walk.direction.either("", " desc"));
        self.limited(pool, walk.rows).await
    }

    /// The first rows in an order.
    pub(crate) async fn page<T: DeserializeOwned>(
        mut self,
        pool: &PgPool,
        order: &'static str,
        first: usize,
    ) -> Result<Vec<T>, ReadError> {
        self.query.push(" order by ").push(order);
        self.limited(pool, first).await
    }

    async fn limited<T: DeserializeOwned>(
        mut self,
        pool: &PgPool,
        rows: usize,
    ) -> Result<Vec<T>, ReadError> {
        let limit = i64::try_from(rows.min(PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
        self.query.push(" limit ").push_bind(limit);
        self.fetch(pool).await
    }

    /// Every row, in an order; for what stays small.
    pub(crate) async fn all<T: DeserializeOwned>(
        mut self,
        pool: &PgPool,
        order: &'static str,
    ) -> Result<Vec<T>, ReadError> {
        self.query.push(" order by ").push(order);
        self.fetch(pool).await
    }

    /// The one row, if there is one.
    pub(crate) async fn one<T: DeserializeOwned>(
        mut self,
        pool: &PgPool,
    ) -> Result<Option<T>, ReadError> {
        self.query.push(" limit 1");
        Ok(self.fetch(pool).await?.pop())
    }

    async fn fetch<T: DeserializeOwned>(mut self, pool: &PgPool) -> Result<Vec<T>, ReadError> {
        let texts: Vec<String> = self.query.build_query_scalar().fetch_all(pool).await?;
        let table = self.what;
        let parse = |text: &String| {
            serde_json::from_str(text).map_err(|source| ReadError::Shape { table, source })
        };
        texts.iter().map(parse).collect()
    }
}
