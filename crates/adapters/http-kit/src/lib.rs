//! What the HTTP faces of the program share.
//!
//! A handler's first argument names what it requires ([`Session`], [`Page`], [`Service`], [`KeyHolder`], [`Signed`], [`Public`]). [`Routes`] takes only such handlers, and
//! resolves the requirement before it reads anything else of the request.

mod address;
mod context;
mod cors;
mod guard;
mod key_holder;
mod limits;
mod metrics;
mod observe;
mod page;
mod problem;
mod rate_limits;
mod routes;
mod service;
mod session;
mod sparingly;
mod verdict;

pub use address::{InvalidNetwork, TrustedProxies};
pub use context::Kit;
pub use cors::{cors, is_origin};
pub use guard::{Public, Refusal, Requirement, RequirementKind, Signed};
pub use key_holder::{KeyHolder, MaybeKeyHolder};
pub use limits::{LargeJson, Object, configure_extractors, whole_body};
pub use metrics::{DelayMetric, HttpMetrics, Metric, MetricKind};
pub use observe::{Observe, ObserveService};
pub use page::{Page, return_path};
pub use problem::{Problem, ProblemBody};
pub use rate_limits::{RateLimitSettings, RateLimits};
pub use routes::{Endpoint, ErrorPage, Handler, Routes, not_found};
pub use service::{Service, ServiceLog};
pub use session::Session;
pub use verdict::authenticate;
