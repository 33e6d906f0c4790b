//! Where the parts of an instance live: its Frontend API, its account portal, and whether this service is a satellite.

use url::Url;

use crate::{InstanceType, InvalidClerkSetting, PublishableKey};

/// A service on another domain than the one on which people sign in (`clerk.md` §3.14).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SatelliteOptions {
    /// `CLERK_DOMAIN`: the satellite's own domain; needed unless there is a proxy URL.
    pub domain: Option<String>,
    /// `CLERK_SIGN_IN_URL`: absolute, on the primary domain; needed for a development instance.
    pub sign_in_url: Option<String>,
    /// Whether a browser that is not known here is sent to the primary domain to ask. Otherwise only after a sign-in.
    pub auto_sync: bool,
}

/// A [`SatelliteOptions`] that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Satellite {
    pub(crate) sign_in_url: Option<Url>,
    pub(crate) auto_sync: bool,
}

/// Hosts and addresses that follow from the settings (`clerk.md` §1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) satellite: Option<Satellite>,
    /// The host by which a token's `iss` is recognised as ours.
    pub(crate) original_host: String,
    /// An absolute URL without slashes at its end, or a path on the public origin.
    frontend_api: String,
}

impl Deployment {
    pub(crate) fn read(
        key: &PublishableKey,
        proxy_url: Option<&str>,
        satellite: Option<&SatelliteOptions>,
    ) -> Result<Self, InvalidClerkSetting> {
        let production = key.instance_type() == InstanceType::Production;
        let domain = satellite.and_then(|satellite| satellite.domain.as_deref());
        if let Some(domain) = domain.filter(|domain| !is_domain(domain)) {
            return Err(InvalidClerkSetting::Domain(domain.to_owned()));
        }
        let original_host = match domain {
            Some(domain) if production => format!("clerk.{domain}"),
            _ => key.frontend_host().to_owned(),
        };
        let frontend_api = match proxy_url {
            Some(proxy_url) => proxy(proxy_url)?,
            None => format!("https://{original_host}"),
        };
        let satellite = match satellite {
            None => None,
            Some(_) if domain.is_none() && proxy_url.is_none() => return Err(InvalidClerkSetting::SatelliteAddress),
            Some(satellite) => Some(Satellite {
                sign_in_url: sign_in_url(satellite.sign_in_url.as_deref(), production)?,
                auto_sync: satellite.auto_sync,
            }),
        };
        Ok(Self { satellite, original_host, frontend_api })
    }

    /// Base of the Frontend API for a service at this origin.
    pub(crate) fn frontend_api(&self, public_origin: &str) -> String {
        if self.frontend_api.starts_with('/') {
            format!("{public_origin}{}", self.frontend_api)
        } else {
            self.frontend_api.clone()
        }
    }

    /// Whether the Frontend API is reached by an address of this service.
    pub(crate) fn is_proxied(&self) -> bool {
        self.frontend_api != format!("https://{}", self.original_host)
    }

    /// Origin of the account portal, where people sign in unless the service has a page of its own.
    pub(crate) fn accounts_origin(&self) -> String {
        let host = self.original_host.replacen("clerk.accountsstage.", "accountsstage.", 1);
        let host = match (host.find("clerk.accounts."), host.find("clerk.")) {
            (Some(long), Some(short)) if long <= short => host.replacen("clerk.accounts.", "accounts.", 1),
            _ => host.replacen("clerk.", "accounts.", 1),
        };
        format!("https://{host}")
    }
}

fn is_domain(text: &str) -> bool {
    Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.authority() == text && url.path() == "/")
}

fn proxy(text: &str) -> Result<String, InvalidClerkSetting> {
    let text = text.trim().trim_end_matches('/');
    let path = text.starts_with('/') && !text.starts_with("//") && !text.contains(['?', '#', '\\']);
    let absolute = Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none());
    if path || absolute { Ok(text.to_owned()) } else { Err(InvalidClerkSetting::ProxyUrl) }
}

fn sign_in_url(text: Option<&str>, production: bool) -> Result<Option<Url>, InvalidClerkSetting> {
    match text {
        None if production => Ok(None),
        None => Err(InvalidClerkSetting::SignInUrl),
        Some(text) => match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
            _ => Err(InvalidClerkSetting::SignInUrl),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PublishableKey {
        PublishableKey::parse(text).unwrap()
    }

    fn live() -> PublishableKey {
        key("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k")
    }

    #[test]
    fn hosts_follow_from_the_key_the_proxy_and_the_satellite() {
        let satellite = |domain: &str| SatelliteOptions {
            domain: Some(domain.to_owned()),
            sign_in_url: Some("https://example.com/sign-in".to_owned()),
            auto_sync: false,
        };
        let test = key("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        for (key, proxy, satellite, original, frontend) in [
            (live(), None, None, "clerk.example.com", "https://clerk.example.com"),
            (live(), Some("/__clerk/"), None, "clerk.example.com", "https://portal.example/__clerk"),
            (live(), Some("https://x.example/clerk"), None, "clerk.example.com", "https://x.example/clerk"),
            (live(), None, Some(satellite("sat.example")), "clerk.sat.example", "https://clerk.sat.example"),
            (test, None, Some(satellite("sat.example")), "clerk.example.com", "https://clerk.example.com"),
        ] {
            let found = Deployment::read(&key, proxy, satellite.as_ref()).unwrap();
            assert_eq!(found.original_host, original);
            assert_eq!(found.frontend_api("https://portal.example"), frontend);
        }
    }

    #[test]
    fn the_account_portal_is_named_after_the_frontend_api() {
        for (pk, origin) in [
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", "https://accounts.example.com"),
            ("pk_test_Zm9vLWJhci0xMy5jbGVyay5hY2NvdW50cy5kZXYk", "https://foo-bar-13.accounts.dev"),
        ] {
            assert_eq!(Deployment::read(&key(pk), None, None).unwrap().accounts_origin(), origin);
        }
    }

    #[test]
    fn what_cannot_be_an_address_stops_the_start() {
        let satellite = |domain: Option<&str>, sign_in_url: Option<&str>| SatelliteOptions {
            domain: domain.map(str::to_owned),
            sign_in_url: sign_in_url.map(str::to_owned),
            auto_sync: false,
        };
        for proxy in ["", "//evil.example", "clerk", "ftp://x", "/a?b", "https://x.example/?y"] {
            assert_eq!(Deployment::read(&live(), Some(proxy), None), Err(InvalidClerkSetting::ProxyUrl), "{proxy}");
        }
        let read = |options| Deployment::read(&live(), None, Some(&options)).map(|_| ());
        assert_eq!(read(satellite(None, None)), Err(InvalidClerkSetting::SatelliteAddress));
        assert_eq!(read(satellite(Some("a/b"), None)), Err(InvalidClerkSetting::Domain("a/b".to_owned())));
        assert_eq!(read(satellite(Some("a.example"), Some("/sign-in"))), Err(InvalidClerkSetting::SignInUrl));
        let test = key("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        let development = Deployment::read(&test, None, Some(&satellite(Some("a.example"), None)));
        assert_eq!(development, Err(InvalidClerkSetting::SignInUrl));
    }
}
