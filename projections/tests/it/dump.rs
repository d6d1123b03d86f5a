//! Every row that readers see, as text, to compare one state of the read models with another.

use projections::Definition;
use sqlx::{AssertSqlSafe, PgPool};

/// The rows of a read model, in the order of their keys.
pub(crate) async fn rows(pool: &PgPool, definition: &Definition) -> Vec<String> {
    let mut all = Vec::new();
    for spec in definition.tables() {
        let (name, key) = (spec.name, spec.key.join(", "));
        let sql = format!("select '{name} ' || t::text from read_model.{name} t order by {key}");
        let rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        all.extend(rows);
    }
    all
}

/// The rows of all read models.
pub(crate) async fn everything(pool: &PgPool) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for definition in projections::definitions() {
        all.push(rows(pool, &definition).await);
    }
    all
}

/// The names of all read models.
pub(crate) fn names() -> Vec<&'static str> {
    projections::definitions().iter().map(|definition| definition.name).collect()
}
