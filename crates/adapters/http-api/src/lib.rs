//! The JSON API under `/v1`, the operations endpoints, and the OpenAPI document that describes both.
//!
//! A handler parses, calls a use case and renders. It holds no rule, no transaction and no SQL.

mod app;
mod error;
mod idempotency;
mod member;
mod operations;
mod page;
mod secret_scanning;
mod v1;
mod webhooks;

pub use app::{Api, document, mount_metrics};
