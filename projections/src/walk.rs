//! Walks: stretches of a list, read along a key that tells every row from the others.
//!
//! A walk begins beyond a key, or at an end of the list, and meets rows in one direction. Rows that
//! come before others are found by walking the other way; whoever shows them turns them around.

/// Which way along the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards larger keys.
    Ascending,
    /// Towards smaller keys.
    Descending,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }

    /// What is said of this direction.
    pub(crate) const fn either(
        self,
        ascending: &'static str,
        descending: &'static str,
    ) -> &'static str {
        match self {
            Self::Ascending => ascending,
            Self::Descending => descending,
        }
    }
}

/// Which rows of a list are read, and in which order.
#[derive(Clone, Debug)]
pub struct Walk<K> {
    /// Which way along the key.
    pub direction: Direction,
    /// The key that it begins beyond; none to begin at the end of the list.
    pub beyond: Option<K>,
    /// The most rows that it meets.
    pub rows: usize,
}

impl<K> Walk<K> {
    /// From the smallest key on.
    #[must_use]
    pub const fn ascending(rows: usize) -> Self {
        Self { direction: Direction::Ascending, beyond: None, rows }
    }

    /// From the largest key on.
    #[must_use]
    pub const fn descending(rows: usize) -> Self {
        Self { direction: Direction::Descending, beyond: None, rows }
    }

    /// The same walk along a key that is written in another way.
    #[must_use]
    pub fn map<L>(&self, change: impl FnOnce(&K) -> L) -> Walk<L> {
        let Self { direction, beyond, rows } = self;
        Walk { direction: *direction, beyond: beyond.as_ref().map(change), rows: *rows }
    }

    /// The rows that it meets of a list that is at hand, sorted by its key.
    #[must_use]
    pub fn over<R>(&self, mut sorted: Vec<R>, key: impl Fn(&R) -> K) -> Vec<R>
    where
        K: Ord,
    {
        if self.direction == Direction::Descending {
            sorted.reverse();
        }
        let is_met = |row: &R| {
            self.beyond.as_ref().is_none_or(|beyond| match self.direction {
                Direction::Ascending => key(row) > *beyond,
                Direction::Descending => key(row) < *beyond,
            })
        };
        sorted.into_iter().filter(is_met).take(self.rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Walk};

    #[test]
    fn a_walk_over_rows_at_hand_meets_what_lies_beyond_its_key() {
        let met = |direction, beyond| {
            Walk { direction, beyond, rows: 2 }.over(vec![1, 2, 3, 4, 5], |row| *row)
        };
        assert_eq!(met(Direction::Ascending, None), [1, 2]);
        assert_eq!(met(Direction::Ascending, Some(4)), [5]);
        assert_eq!(met(Direction::Descending, None), [5, 4]);
        assert_eq!(met(Direction::Descending, Some(4)), [3, 2]);
        assert!(met(Direction::Descending, Some(1)).is_empty());
    }
}
