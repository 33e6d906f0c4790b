//! What a key is restricted to.

use crate::{KeyScopes, ModelAllowList, Networks, RateLimits};

/// The restrictions of a key. Without any it is good for inference with every model, from everywhere, at any rate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPolicy {
    /// What for.
    pub scopes: KeyScopes,
    /// Which models.
    pub models: ModelAllowList,
    /// From where.
    pub networks: Networks,
    /// How often.
    pub rate_limits: RateLimits,
}
