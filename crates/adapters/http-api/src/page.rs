//! `limit` and `cursor` of every list.

use portal_http_kit::Problem;
use portal_kernel::{Id, PageRequest, PageSize};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;

/// Query of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Rows at most, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    pub(crate) fn parse<I: Id + std::str::FromStr>(&self) -> Result<PageRequest<I>, ApiError> {
        let size = self.limit.map(PageSize::parse).transpose()?.unwrap_or_default();
        let after = self.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
            Problem::bad_request("invalid_cursor", "The cursor is not valid")
                .detail("Use next_cursor of the page before.")
        })?;
        Ok(PageRequest { size, after })
    }
}
