//! Pages: Relay connections over keyset cursors.
//!
//! A cursor is the order of its list and the key of a row, in base64 so that nobody builds one by
//! hand. A page is read with one row more than was asked for, which tells whether there are more.
//! How many there are is counted up to a bound, and only when asked. What a page is asked for with
//! is in [`arguments`].

mod arguments;

pub(crate) use arguments::{ListOrder, PageArguments, PagePlan, ROWS_DEFAULT};

use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::BoxFuture;
use projections::Direction;
use std::fmt::Display;
use std::str::FromStr;

/// Up to how many rows are counted: a full page of the reader tells that there may be more.
pub(crate) const COUNT_MAX: usize = projections::PAGE_ROWS_MAX - 1;

/// Where a row stands in a list: what a page begins after or ends before. Opaque.
#[derive(Clone, Debug)]
pub(crate) struct Cursor(String);

#[Scalar(name = "Cursor")]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= 500 => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if text.len() <= 500)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl Cursor {
    /// The cursor of a row with this key, in a list of this order.
    fn of(order: ListOrder, key: &impl Display) -> Self {
        Self(BASE64URL_NOPAD.encode(format!("{}{key}", order.mark()).as_bytes()))
    }

    /// The key it was made of, where it was given as `argument` of a list in this order.
    fn key<T: FromStr>(&self, argument: &str, order: ListOrder) -> Result<T, Problem> {
        let bytes = BASE64URL_NOPAD.decode(self.0.as_bytes()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        // Taken for a place in the other order it would show rows that nobody asked for.
        let other = ListOrder::from(Direction::from(order).turned());
        if text.starts_with(other.mark()) {
            let message = "the cursor is of the list in its other order; ask with the orderBy that \
                           it came with, or begin without it";
            return Err(Problem::input(argument, message));
        }
        let key = text.strip_prefix(order.mark()).and_then(|key| key.parse().ok());
        key.ok_or_else(|| {
            let message = "the cursor is not one of this list; take it from `pageInfo`";
            Problem::input(argument, message)
        })
    }
}

/// About a page.
#[derive(async_graphql::SimpleObject, Clone)]
pub(crate) struct PageInfo {
    /// Whether there are rows after this page.
    has_next_page: bool,
    /// Whether there are rows before this page.
    has_previous_page: bool,
    /// The cursor of the first row; give it as `before` for the page before.
    start_cursor: Option<Cursor>,
    /// The cursor of the last row; give it as `after` for the next page.
    end_cursor: Option<Cursor>,
}

/// Rows of a page, each with its cursor.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<(Cursor, T)>,
    pub(crate) info: PageInfo,
}

impl<T> Page<T> {
    /// From what the plan's walk met, which is one row more than was wanted if there is one.
    pub(crate) fn new<R, K, L: Display>(
        mut rows: Vec<R>,
        plan: &PagePlan<K>,
        key: impl Fn(&R) -> L,
        object: impl Fn(R) -> T,
    ) -> Self {
        let has_more = rows.len() >= plan.walk.rows;
        rows.truncate(plan.walk.rows.saturating_sub(1));
        if plan.is_back {
            rows.reverse();
        }
        let is_begun = plan.walk.beyond.is_some();
        let cursor = |row: &R| Cursor::of(plan.order, &key(row));
        let info = PageInfo {
            has_next_page: if plan.is_back { is_begun } else { has_more },
            has_previous_page: if plan.is_back { has_more } else { is_begun },
            start_cursor: rows.first().map(cursor),
            end_cursor: rows.last().map(cursor),
        };
        let rows = rows.into_iter().map(|row| (cursor(&row), object(row))).collect();
        Self { rows, info }
    }
}

/// Counts the rows of a whole list, up to a bound. Only called when somebody asks.
pub(crate) type Count =
    Box<dyn for<'a> Fn(&'a Asking, usize) -> Counting<'a> + Send + Sync + 'static>;
/// A count under way.
pub(crate) type Counting<'a> = BoxFuture<'a, Result<usize, Problem>>;

/// Counts up to the bound; `None` when there are more.
pub(crate) async fn bounded(count: &Count, asking: &Asking) -> Result<Option<i32>, Problem> {
    let found = count(asking, COUNT_MAX + 1).await?;
    Ok(i32::try_from(found).ok().filter(|_| found <= COUNT_MAX))
}

/// Declares a connection of objects.
macro_rules! connection {
    ($Connection:ident, $Edge:ident of $Object:ident) => {
        /// One page of a list.
        pub(crate) struct $Connection {
            page: $crate::graphql::page::Page<$Object>,
            count: $crate::graphql::page::Count,
        }

        impl $Connection {
            pub(crate) fn new(
                page: $crate::graphql::page::Page<$Object>,
                count: impl for<'a> Fn(
                    &'a $crate::reading::Asking,
                    usize,
                ) -> $crate::graphql::page::Counting<'a>
                + Send
                + Sync
                + 'static,
            ) -> Self {
                Self { page, count: Box::new(count) }
            }
        }

        /// One page of a list.
        #[async_graphql::Object]
        impl $Connection {
            /// The rows.
            async fn nodes(&self) -> Vec<&$Object> {
                self.page.rows.iter().map(|(_, row)| row).collect()
            }

            /// The rows, each with its cursor.
            async fn edges(&self) -> Vec<$Edge<'_>> {
                self.page.rows.iter().map(|(cursor, node)| $Edge { cursor, node }).collect()
            }

            /// About the page.
            async fn page_info(&self) -> &$crate::graphql::page::PageInfo {
                &self.page.info
            }

            /// How many rows the whole list has; null when there are a thousand or more.
            async fn total_count(
                &self,
                ctx: &async_graphql::Context<'_>,
            ) -> Result<Option<i32>, $crate::problem::Problem> {
                $crate::graphql::page::bounded(&self.count, $crate::graphql::asking(ctx)?).await
            }
        }

        /// One row of a page.
        pub(crate) struct $Edge<'a> {
            cursor: &'a $crate::graphql::page::Cursor,
            node: &'a $Object,
        }

        /// One row of a page.
        #[async_graphql::Object]
        impl $Edge<'_> {
            /// Where it is.
            async fn cursor(&self) -> &$crate::graphql::page::Cursor {
                self.cursor
            }

            /// The row.
            async fn node(&self) -> &$Object {
                self.node
            }
        }
    };
}
pub(crate) use connection;
