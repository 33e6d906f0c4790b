//! Statements that the server parses once per connection.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement whose text is the same whatever its values are. diesel knows that of most statements itself, and of these it does not: of
/// updates and upserts, which leave out a column whose value is to stay. Without this they are sent twice each time, first to be parsed,
/// and one waits for the other where several are sent at once.
///
/// Another text is another statement, so nothing worse than memory is at stake.
pub(crate) struct Prepared<T>(pub(crate) T);

impl<T: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<T> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<T> QueryId for Prepared<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Query> Query for Prepared<T> {
    type SqlType = T::SqlType;
}
