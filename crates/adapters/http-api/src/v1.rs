//! Handlers under `/v1`, by group of routes.

pub(crate) mod accounts;
pub(crate) mod api_keys;
pub(crate) mod audit_events;
pub(crate) mod auth;
pub(crate) mod explain;
pub(crate) mod invitations;
pub(crate) mod key_feed;
pub(crate) mod key_holder;
pub(crate) mod keys;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod sessions;
pub(crate) mod status;
