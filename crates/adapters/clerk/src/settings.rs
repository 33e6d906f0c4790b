//! What the library needs to know about an instance, checked once at start-up.

use std::sync::Arc;
use std::time::Duration;

use portal_identity::ProviderMachineId;
use portal_kernel::SecretString;
use url::{Host, Url};

use crate::deployment::{Deployment, SatelliteOptions};
use crate::organization_url::{OrganizationMatcher, OrganizationSyncOptions};
use crate::pem;
use crate::rsa_key::VerificationKey;
use crate::{
    HttpTimeouts, InstanceType, InvalidClerkSetting, MachineSecretKey, PublishableKey, SecretKey, StrictChoices,
};

const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

/// The settings as written; [`ClerkOptions::validate`] turns them into [`ClerkSettings`].
#[derive(Debug, Clone)]
pub struct ClerkOptions {
    /// `CLERK_PUBLISHABLE_KEY`
    pub publishable_key: String,
    /// `CLERK_SECRET_KEY`; needed unless `jwt_key` is given, and for the directory in any case.
    pub secret_key: Option<SecretString>,
    /// `CLERK_JWT_KEY`: the public key in PEM form. Verification then needs no network; the secret key plays no part in
    /// it.
    pub jwt_key: Option<String>,
    /// `CLERK_MACHINE_SECRET_KEY`: this service as a machine. With it, Clerk accepts only tokens of machines that were
    /// granted to this one.
    pub machine_secret_key: Option<SecretString>,
    /// The id of this service as a machine, `mch_…`; tells whether a machine's token is meant for it.
    pub machine_id: Option<String>,
    /// `CLERK_API_URL`
    pub api_url: String,
    /// `CLERK_API_VERSION`: a date.
    pub api_version: String,
    /// `CLERK_JWT_ISSUER_DOMAIN`, with or without `https://`; otherwise derived from the publishable key.
    pub issuer: Option<String>,
    /// `CLERK_AUTHORIZED_PARTIES`: the origins whose pages mint tokens for this service. Empty: any.
    pub authorized_parties: Vec<String>,
    /// Accepted values of `aud`. Empty: not checked. Session tokens normally have none.
    pub audiences: Vec<String>,
    /// `CLERK_PROXY_URL`: where this service forwards to the Frontend API, absolute or a path of its own.
    pub proxy_url: Option<String>,
    /// Set for a service on another domain than the one on which people sign in (`CLERK_IS_SATELLITE`).
    pub satellite: Option<SatelliteOptions>,
    /// Origins of the satellites of a development instance, to which a browser may be sent back. Clerk's SDK sends it anywhere.
    pub satellite_origins: Vec<String>,
    /// Whether the active organization follows the URL.
    pub organization_sync: OrganizationSyncOptions,
    /// Whether a signed-in person who comes by a link from another origin is sent through a handshake, as in Clerk's SDK. It keeps
    /// several domains in step and is no check; a service on one domain can do without.
    pub cross_origin_sync: bool,
    /// Difference allowed between Clerk's clock and ours, the same for `exp`, `nbf` and `iat`; 60 s at most, and 0
    /// means none.
    pub clock_skew: Duration,
    /// Where to be stricter than Clerk's SDK.
    pub choices: StrictChoices,
    /// Verified tokens kept in memory; 0 switches the cache off.
    pub token_cache_entries: usize,
    /// Bounds of calls to the Backend API.
    pub timeouts: HttpTimeouts,
}

impl ClerkOptions {
    /// Everything but the publishable key at its default.
    pub fn new(publishable_key: impl Into<String>) -> Self {
        Self {
            publishable_key: publishable_key.into(),
            secret_key: None,
            jwt_key: None,
            machine_secret_key: None,
            machine_id: None,
            api_url: "https://api.clerk.com".to_owned(),
            api_version: "2026-05-12".to_owned(),
            issuer: None,
            authorized_parties: Vec::new(),
            audiences: Vec::new(),
            proxy_url: None,
            satellite: None,
            satellite_origins: Vec::new(),
            organization_sync: OrganizationSyncOptions::default(),
            cross_origin_sync: true,
            clock_skew: Duration::from_secs(5),
            choices: StrictChoices::default(),
            token_cache_entries: 10_000,
            timeouts: HttpTimeouts::default(),
        }
    }

    /// Checks each setting and what must agree with each other; the first mistake is the answer.
    pub fn validate(self) -> Result<ClerkSettings, InvalidClerkSetting> {
        let publishable_key = PublishableKey::parse(&self.publishable_key)?;
        let instance_type = publishable_key.instance_type();
        let secret_key = self.secret_key.as_ref().map(SecretKey::parse).transpose()?;
        if let Some(secret_key) = secret_key.as_ref().filter(|key| key.instance_type() != instance_type) {
            let secret_key = secret_key.instance_type();
            return Err(InvalidClerkSetting::InstanceMismatch { publishable_key: instance_type, secret_key });
        }
        let jwt_key = self.jwt_key.as_deref().map(pem::parse).transpose()?.map(Arc::new);
        if jwt_key.is_none() && secret_key.is_none() {
            return Err(InvalidClerkSetting::NoKey);
        }
        let machine_secret_key = self.machine_secret_key.as_ref().map(MachineSecretKey::parse).transpose()?;
        let machine_id = self.machine_id.as_deref().map(str::trim).map(ProviderMachineId::parse).transpose();
        let machine_id = machine_id.map_err(|_| InvalidClerkSetting::MachineId)?;
        let issuer = match &self.issuer {
            Some(text) => issuer(text, instance_type)?,
            None => format!("https://{}", publishable_key.frontend_host()),
        };
        if let Some(party) = self.authorized_parties.iter().find(|party| !is_origin(party)) {
            return Err(InvalidClerkSetting::AuthorizedParty(party.clone()));
        }
        if let Some(origin) = self.satellite_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(InvalidClerkSetting::SatelliteOrigin(origin.clone()));
        }
        let deployment = Deployment::read(&publishable_key, self.proxy_url.as_deref(), self.satellite.as_ref())?;
        let organizations = OrganizationMatcher::read(&self.organization_sync)?;
        if self.audiences.iter().any(String::is_empty) {
            return Err(InvalidClerkSetting::Audience);
        }
        let clock_skew_ms =
            i64::try_from(self.clock_skew.as_millis()).ok().filter(|_| self.clock_skew <= MAX_CLOCK_SKEW);
        let Some(clock_skew_ms) = clock_skew_ms else { return Err(InvalidClerkSetting::ClockSkew) };
        if !self.timeouts.are_usable() {
            return Err(InvalidClerkSetting::Timeouts);
        }
        let (api_url, api_version) = (api_url(&self.api_url, instance_type)?, api_version(&self.api_version)?);
        Ok(ClerkSettings {
            options: self,
            publishable_key,
            secret_key,
            machine_secret_key,
            machine_id,
            jwt_key,
            issuer,
            deployment,
            organizations,
            clock_skew_ms,
            api_url,
            api_version,
        })
    }
}

/// Settings that were found good. Cheap to keep, never changes.
#[derive(Clone)]
pub struct ClerkSettings {
    options: ClerkOptions,
    publishable_key: PublishableKey,
    secret_key: Option<SecretKey>,
    machine_secret_key: Option<MachineSecretKey>,
    machine_id: Option<ProviderMachineId>,
    jwt_key: Option<Arc<VerificationKey>>,
    issuer: String,
    deployment: Deployment,
    organizations: OrganizationMatcher,
    clock_skew_ms: i64,
    api_url: String,
    api_version: String,
}

impl ClerkSettings {
    /// The publishable key.
    pub fn publishable_key(&self) -> &PublishableKey {
        &self.publishable_key
    }

    /// The secret key, where there is one.
    pub fn secret_key(&self) -> Option<&SecretKey> {
        self.secret_key.as_ref()
    }

    /// The secret key of this service as a machine, where there is one.
    pub fn machine_secret_key(&self) -> Option<&MachineSecretKey> {
        self.machine_secret_key.as_ref()
    }

    /// The id of this service as a machine, where it has one.
    pub fn machine_id(&self) -> Option<&ProviderMachineId> {
        self.machine_id.as_ref()
    }

    /// The only `iss` that is ours.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Origins that may mint tokens; empty for any.
    pub fn authorized_parties(&self) -> &[String] {
        &self.options.authorized_parties
    }

    /// Accepted audiences; empty for any.
    pub fn audiences(&self) -> &[String] {
        &self.options.audiences
    }

    /// The choices in force.
    pub fn choices(&self) -> &StrictChoices {
        &self.options.choices
    }

    /// Base of the Backend API, without a slash at the end.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// Where people sign in, unless the service has a page of its own: `https://accounts.…`, without a path.
    pub fn accounts_origin(&self) -> String {
        self.deployment.accounts_origin()
    }

    /// Whether `iss` is ours. Behind a proxy and on a satellite, published sources disagree on which address Clerk writes: each that is
    /// this instance's own counts.
    pub(crate) fn is_issuer(&self, iss: &str) -> bool {
        iss == self.issuer
            || self.options.proxy_url.as_deref() == Some(iss)
            || (self.deployment.satellite.is_some()
                && iss.strip_prefix("https://") == Some(self.deployment.original_host.as_str()))
    }

    /// Whether somebody said that this is the issuer.
    pub(crate) fn is_configured_issuer(&self, iss: &str) -> bool {
        self.options.issuer.is_some() && iss == self.issuer
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    pub(crate) fn organizations(&self) -> &OrganizationMatcher {
        &self.organizations
    }

    pub(crate) fn satellite_origins(&self) -> &[String] {
        &self.options.satellite_origins
    }

    pub(crate) fn cross_origin_sync(&self) -> bool {
        self.options.cross_origin_sync
    }

    pub(crate) fn is_production(&self) -> bool {
        self.publishable_key.instance_type() == InstanceType::Production
    }

    pub(crate) fn api_version(&self) -> &str {
        &self.api_version
    }

    pub(crate) fn jwt_key(&self) -> Option<&Arc<VerificationKey>> {
        self.jwt_key.as_ref()
    }

    /// How much Clerk's clock and ours may differ.
    pub fn clock_skew(&self) -> Duration {
        self.options.clock_skew
    }

    pub(crate) fn clock_skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    pub(crate) fn token_cache_entries(&self) -> usize {
        self.options.token_cache_entries
    }

    pub(crate) fn timeouts(&self) -> &HttpTimeouts {
        &self.options.timeouts
    }
}

impl std::fmt::Debug for ClerkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkSettings")
            .field("options", &self.options)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

fn api_url(text: &str, instance_type: InstanceType) -> Result<String, InvalidClerkSetting> {
    let url = Url::parse(text.trim()).map_err(|_| InvalidClerkSetting::ApiUrl)?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(InvalidClerkSetting::ApiUrl),
    };
    let safe =
        url.scheme() == "https" || (url.scheme() == "http" && (loopback || instance_type == InstanceType::Development));
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if safe && plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(InvalidClerkSetting::ApiUrl) }
}

fn api_version(text: &str) -> Result<String, InvalidClerkSetting> {
    let text = text.trim();
    let date = text.len() == 10
        && text.bytes().enumerate().all(|(at, c)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() });
    if date { Ok(text.to_owned()) } else { Err(InvalidClerkSetting::ApiVersion) }
}

fn issuer(text: &str, instance_type: InstanceType) -> Result<String, InvalidClerkSetting> {
    let text = text.trim();
    let origin = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let secure =
        origin.starts_with("https://") || (origin.starts_with("http://") && instance_type == InstanceType::Development);
    if secure && is_origin(&origin) { Ok(origin) } else { Err(InvalidClerkSetting::Issuer) }
}

/// The very text that a browser puts into `Origin`. Browser extensions have schemes of their own.
fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization() == text,
        scheme => text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b':'))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ClerkOptions {
        let mut options = ClerkOptions::new("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_test_s3cret"));
        options
    }

    fn production() -> ClerkOptions {
        let mut options = ClerkOptions::new("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k");
        options.secret_key = Some(SecretString::from("sk_live_s3cret"));
        options
    }

    fn mistake(options: ClerkOptions) -> (&'static str, String) {
        let error = options.validate().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        (error.setting(), error.to_string())
    }

    #[test]
    fn the_defaults_are_clerks_and_strict() {
        let settings = options().validate().unwrap();
        assert_eq!(settings.api_url(), "https://api.clerk.com");
        assert_eq!(settings.api_version(), "2026-05-12");
        assert_eq!(settings.issuer(), "https://clerk.example.com");
        assert_eq!(settings.clock_skew_ms(), 5_000);
        assert_eq!(settings.choices(), &StrictChoices::strict());
        assert!(!format!("{settings:?} {:?}", settings.secret_key()).contains("s3cret"));
    }

    #[test]
    fn keys_of_two_instances_are_refused() {
        let mut mixed = options();
        mixed.secret_key = Some(SecretString::from("sk_live_s3cret"));
        assert_eq!(
            mistake(mixed),
            (
                "clerk.secret_key",
                "belongs to a production instance, but the publishable key to a development instance".into()
            )
        );
        let mut mixed = production();
        mixed.secret_key = Some(SecretString::from("test_s3cret"));
        assert_eq!(mistake(mixed).0, "clerk.secret_key");
    }

    #[test]
    fn missing_and_malformed_keys_stop_the_start() {
        let mut broken = options();
        broken.publishable_key = String::new();
        assert_eq!(mistake(broken).0, "clerk.publishable_key");
        let mut broken = options();
        broken.secret_key = None;
        assert_eq!(broken.clone().validate().unwrap_err(), InvalidClerkSetting::NoKey);
        broken.secret_key = Some(SecretString::from("s3cret"));
        assert_eq!(mistake(broken).0, "clerk.secret_key");
        let mut broken = options();
        broken.jwt_key = Some("-----BEGIN PUBLIC KEY-----".into());
        assert_eq!(mistake(broken).0, "clerk.jwt_key");
    }

    #[test]
    fn a_machine_has_a_key_and_an_id_of_its_own() {
        let with = |key: Option<&str>, id: Option<&str>| {
            let (machine_secret_key, machine_id) = (key.map(SecretString::from), id.map(str::to_owned));
            ClerkOptions { machine_secret_key, machine_id, ..options() }
        };
        let good = with(Some("ak_s3cret"), Some("mch_1 ")).validate().unwrap();
        assert_eq!(good.machine_id().unwrap().as_str(), "mch_1");
        assert!(good.machine_secret_key().is_some());
        assert!(!format!("{good:?}").contains("s3cret"));
        assert_eq!(mistake(with(Some("sk_test_s3cret"), None)).0, "clerk.machine_secret_key");
        for id in ["", "mch_", "user_1", "mch_../x"] {
            assert_eq!(mistake(with(None, Some(id))).0, "clerk.machine_id", "{id:?}");
        }
    }

    #[test]
    fn authorized_parties_are_origins_to_the_letter() {
        for party in
            ["https://portal.example", "http://localhost:8080", "https://[::1]:8443", "chrome-extension://abcdefgh"]
        {
            let mut good = options();
            good.authorized_parties = vec![party.into()];
            assert_eq!(good.validate().unwrap().authorized_parties(), [party]);
        }
        for party in [
            "",
            "portal.example",
            "https://portal.example/",
            "https://portal.example/path",
            "https://portal.example?x",
            "https://portal.example:443",
            "https://PORTAL.example",
            "HTTPS://portal.example",
            "https://user@portal.example",
            " https://portal.example",
            "https://*.portal.example/",
            "https:portal.example",
            "chrome-extension://abc/",
            "data:text",
        ] {
            let mut bad = options();
            bad.authorized_parties = vec!["https://portal.example".into(), party.into()];
            assert_eq!(mistake(bad).0, "clerk.authorized_parties", "{party}");
        }
    }

    #[test]
    fn the_secret_key_never_travels_in_the_clear_to_another_machine() {
        let with = |options: ClerkOptions, url: &str| ClerkOptions { api_url: url.into(), ..options }.validate();
        for url in
            ["https://api.clerk.test/base/", "http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"]
        {
            assert_eq!(with(production(), url).unwrap().api_url(), url.trim_end_matches('/'));
        }
        assert!(with(options(), "http://idp:9000").is_ok());
        for url in [
            "http://api.clerk.test",
            "ftp://api.clerk.test",
            "api.clerk.test",
            "https://u:p@api.clerk.test",
            "https://api.clerk.test?x",
            "",
        ] {
            assert_eq!(with(production(), url).unwrap_err(), InvalidClerkSetting::ApiUrl, "{url}");
        }
    }

    #[test]
    fn the_other_settings_have_bounds() {
        let issuer = |text: &str| {
            ClerkOptions { issuer: Some(text.into()), ..production() }.validate().map(|good| good.issuer().to_owned())
        };
        assert_eq!(issuer("https://auth.example.com"), Ok("https://auth.example.com".into()));
        assert_eq!(issuer("auth.example.com "), Ok("https://auth.example.com".into()));
        assert_eq!(issuer("http://auth.example.com"), Err(InvalidClerkSetting::Issuer));
        assert_eq!(issuer("https://auth.example.com/"), Err(InvalidClerkSetting::Issuer));

        for (skew, good) in [(0, true), (60_000, true), (60_001, false), (u64::MAX, false)] {
            let options = ClerkOptions { clock_skew: Duration::from_millis(skew), ..options() };
            assert_eq!(options.validate().is_ok(), good, "{skew}");
        }
        for version in ["", "v1", "2026-5-12", "2026-05-12 x", "2026/05/12"] {
            let options = ClerkOptions { api_version: version.into(), ..options() };
            assert_eq!(options.validate().unwrap_err(), InvalidClerkSetting::ApiVersion);
        }
        let options = ClerkOptions { audiences: vec![String::new()], ..options() };
        assert_eq!(options.validate().unwrap_err(), InvalidClerkSetting::Audience);
    }
}
