//! What a caller says about a page, and the walk that finds its rows.
//!
//! Every list takes the same five arguments. A page goes forward (`first`, `after`) or back
//! (`last`, `before`), never both; either way its rows stand in the order of the list.

use super::Cursor;
use crate::problem::Problem;
use async_graphql::Enum;
use projections::{Direction, Walk};
use std::str::FromStr;

/// Rows of a page when nobody says.
pub(crate) const ROWS_DEFAULT: usize = 50;
/// The most rows of a page.
const ROWS_MAX: usize = 200;

/// In which order a list is shown. Without one, a list has the order that its description names.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "Direction")]
pub(crate) enum ListOrder {
    /// The oldest first; where names are the order, from A to Z.
    Ascending,
    /// The newest first; where names are the order, from Z to A.
    Descending,
}

impl ListOrder {
    /// What a cursor of a list in this order begins with.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Ascending => "+",
            Self::Descending => "-",
        }
    }
}

/// The arguments of a list.
pub(crate) struct PageArguments {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<Cursor>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<Cursor>,
    pub(crate) order_by: Option<ListOrder>,
}

/// How a page is read.
pub(crate) struct PagePlan<K> {
    /// Reads one row more than is wanted, which tells whether there are more.
    pub(crate) walk: Walk<K>,
    pub(super) order: ListOrder,
    /// Whether it goes back, which means that the walk meets its rows in reverse.
    pub(super) is_back: bool,
}

impl PageArguments {
    /// How to read the page of a list that has this order when nobody says another.
    pub(crate) fn plan<K: FromStr>(self, default: ListOrder) -> Result<PagePlan<K>, Problem> {
        let order = self.order_by.unwrap_or(default);
        let forward = self.first.map(|_| "first").or(self.after.as_ref().map(|_| "after"));
        let back = self.last.map(|_| "last").or(self.before.as_ref().map(|_| "before"));
        if let (Some(forward), Some(back)) = (forward, back) {
            let message = format!(
                "{forward} goes forward and {back} goes back; give first with after, or last with \
                 before"
            );
            return Err(Problem::input(back, message));
        }
        let is_back = back.is_some();
        let (rows, beyond, direction) = if is_back {
            let beyond = self.before.map(|cursor| cursor.key("before", order));
            (rows_wanted("last", self.last)?, beyond, Direction::from(order).turned())
        } else {
            let beyond = self.after.map(|cursor| cursor.key("after", order));
            (rows_wanted("first", self.first)?, beyond, Direction::from(order))
        };
        let walk = Walk { direction, beyond: beyond.transpose()?, rows: rows + 1 };
        Ok(PagePlan { walk, order, is_back })
    }
}

impl<K> PagePlan<K> {
    /// The same plan along a key that is written in another way.
    pub(crate) fn map<L>(self, change: impl FnOnce(&K) -> L) -> PagePlan<L> {
        let Self { walk, order, is_back } = self;
        PagePlan { walk: walk.map(change), order, is_back }
    }
}

fn rows_wanted(argument: &str, given: Option<i32>) -> Result<usize, Problem> {
    let Some(given) = given else { return Ok(ROWS_DEFAULT) };
    let wanted = usize::try_from(given).ok().filter(|rows| (1..=ROWS_MAX).contains(rows));
    wanted.ok_or_else(|| {
        let message = format!("{argument} is {given}; ask for 1 to {ROWS_MAX} rows");
        Problem::input(argument, message)
    })
}
