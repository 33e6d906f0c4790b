//! Whether a click came from another origin that is not Clerk's (`clerk.md` §3.12).

use url::Url;

use crate::context::Context;

/// Hosts of development account portals: endings of today, and of years ago.
const DEVELOPMENT_PORTALS: [&str; 3] = [".accounts.dev", ".accountsstage.dev", ".accounts.lclclerk.com"];
const LEGACY_DEVELOPMENT: [&str; 3] = [".lcl.dev", ".lclstage.dev", ".lclclerk.com"];

/// A referrer that cannot be read is none.
pub(crate) fn is_from_elsewhere(context: &Context<'_>) -> bool {
    let Some(referrer) = context.request.value("referer").and_then(|text| Url::parse(&text).ok()) else { return false };
    referrer.origin().ascii_serialization() != context.origin() && !is_clerks(context, &referrer)
}

fn is_clerks(context: &Context<'_>, referrer: &Url) -> bool {
    let deployment = context.settings.deployment();
    let host = referrer.host_str().unwrap_or_default();
    let frontend_api = Url::parse(&deployment.frontend_api(&context.origin())).ok();
    frontend_api.is_some_and(|url| url.host_str() == Some(host))
        || (!context.settings.is_production() && is_development_portal(host))
        || (!deployment.is_proxied() && referrer.origin().ascii_serialization() == deployment.accounts_origin())
}

fn is_development_portal(host: &str) -> bool {
    let of_today = |ending: &str| host.ends_with(ending) && !host.ends_with(&format!(".clerk{ending}"));
    let of_old = |ending: &str| host.starts_with("accounts.") && host.ends_with(ending);
    DEVELOPMENT_PORTALS.into_iter().any(of_today) || LEGACY_DEVELOPMENT.into_iter().any(of_old)
}
