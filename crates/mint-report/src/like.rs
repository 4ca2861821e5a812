//! Rows of the same method, run in the same way.

use mint_eval::Row;

/// Whether two rows are of the same method, run in the same way.
pub fn is_like(one: &Row, other: &Row) -> bool {
    one.seed == other.seed && is_like_but_for_the_seed(one, other)
}

/// The same, whatever the seed.
pub fn is_like_but_for_the_seed(one: &Row, other: &Row) -> bool {
    let of = |row: &Row| (row.method.clone(), row.start.clone(), row.views, row.share, row.steps);
    of(one) == of(other)
}
