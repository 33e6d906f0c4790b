//! Members of a merge patch (RFC 7396).

use portal_accounts::Patch;
use serde::{Deserialize, Deserializer};

/// A member of a patch: absent, null, or a value.
#[derive(Default)]
pub(crate) enum Member<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> Member<T> {
    pub(crate) fn parse<U, E>(self, parse: impl FnOnce(T) -> Result<U, E>) -> Result<Patch<U>, E> {
        Ok(match self {
            Self::Absent => Patch::Keep,
            Self::Null => Patch::Clear,
            Self::Value(value) => Patch::Set(parse(value)?),
        })
    }

    /// As [`Self::parse`], where what is null is something else than nothing.
    pub(crate) fn parse_or<U, E>(
        self,
        null: impl FnOnce() -> Result<U, E>,
        parse: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Option<U>, E> {
        match self {
            Self::Absent => Ok(None),
            Self::Null => null().map(Some),
            Self::Value(value) => parse(value).map(Some),
        }
    }
}
