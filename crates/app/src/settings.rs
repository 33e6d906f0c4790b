//! Settings: built-in defaults, then a TOML file, then the environment. The only place that reads either.
//!
//! Every mistake is collected, so that a person mends all of them in one go. The program never starts on a guess.

mod accounts;
mod audit;
mod canary;
mod keys;
mod limits;
mod reader;
mod secret_scanning;
mod services;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portal_accounts::RoleMap;
use portal_api_keys::LegacyToken;
use portal_clerk::{
    ClerkOptions, ClerkSettings, Compatibility, SatelliteOptions, StrictChoices, WebhookSecret, WebhookVerifier,
};
use portal_http_kit::{RateLimitSettings, TrustedProxies, is_origin};
use portal_postgres::{PgSettings, PgTarget};

pub use accounts::AccountsSettings;
pub use audit::AuditSettings;
pub use keys::KeySettings;
pub use reader::Environment;
use reader::Reader;

use crate::scanning_keys::ScanningKey;

/// One thing that is wrong, in one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The setting's path in a file, for example `http.bind`.
    pub key: String,
    /// What is wrong, with the remedy. Never repeats a secret.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", reader::shown(&self.key), self.message)
    }
}

/// Everything that is wrong, sorted by setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// All settings, checked.
pub struct Settings {
    /// `scheme://host[:port]` as browsers see it.
    pub public_origin: String,
    /// The web server.
    pub http: HttpSettings,
    /// How many requests a person or an address may make.
    pub limits: RateLimitSettings,
    /// The database.
    pub database: PgSettings,
    /// The identity provider.
    pub clerk: ClerkSettings,
    /// People and their accounts.
    pub accounts: AccountsSettings,
    /// Where people sign in.
    pub sign_in_url: String,
    /// Verifies what the provider sends on its own; none without a secret.
    pub webhooks: Option<WebhookVerifier>,
    /// API keys and service tokens.
    pub keys: KeySettings,
    /// What services may show besides tokens of their own, if anything.
    pub legacy_service: Option<LegacyToken>,
    /// The audit trail.
    pub audit: AuditSettings,
    /// How often it is measured how long revoked keys go on, if at all.
    pub canary_every: Option<Duration>,
    /// Public keys of partners who report published secrets.
    pub scanning_keys: BTreeMap<String, ScanningKey>,
    /// Metrics.
    pub metrics: MetricsSettings,
    /// Logs.
    pub log: LogSettings,
}

/// What an operator's command needs: the database, the peppers to make digests with, and the keys of the audit trail.
pub struct OperatorSettings {
    /// The database.
    pub database: PgSettings,
    /// What the provider's role keys mean.
    pub role_map: RoleMap,
    /// API keys and service tokens.
    pub keys: KeySettings,
    /// The audit trail; maybe without a key.
    pub audit: AuditSettings,
    /// Logs.
    pub log: LogSettings,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
    /// Origins of frontends elsewhere.
    pub allowed_origins: Vec<String>,
    /// Whose forwarded addresses count.
    pub trusted_proxies: TrustedProxies,
    /// How long running requests may take when the program ends.
    pub shutdown_timeout: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// A listener of its own that serves them openly.
    pub bind: Option<SocketAddr>,
    /// Serve them openly on the main listener as well.
    pub open: bool,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object per line.
    Json,
}

impl Settings {
    /// Reads and checks everything; fails with every mistake.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Mistakes> {
        let mut reader = Reader::open(file, environment)?;
        let settings = Self::read(&mut reader);
        reader.finish(settings)
    }

    fn read(reader: &mut Reader) -> Option<Self> {
        // Every section is read before any is missed, so that all mistakes are found.
        let (origin, http, database, clerk, keys) = (
            public_origin(reader),
            HttpSettings::read(reader),
            database(reader),
            clerk(reader),
            KeySettings::read(reader),
        );
        let (metrics, log) = (MetricsSettings::read(reader), LogSettings::read(reader));
        let (audit, limits, canary) = (AuditSettings::read(reader), limits::read(reader), canary::read(reader));
        if let (Some(http), Some(metrics)) = (&http, &metrics)
            && metrics.bind == Some(http.bind)
        {
            reader.mistake("metrics.bind", "must differ from http.bind");
        }
        let sign_in_url = sign_in_url(reader);
        let webhooks = webhooks(reader);
        let scanning_keys = secret_scanning::read(reader);
        let (accounts, legacy_service) = (AccountsSettings::read(reader), services::read(reader));
        let satellite = satellite(reader, sign_in_url.as_ref().map(Option::as_deref), origin.as_deref());
        let clerk = clerk.zip(satellite).and_then(|(mut options, satellite)| {
            options.satellite = satellite;
            agree(reader, options, origin.as_deref(), http.as_ref())
        });
        let clerk = clerk?;
        Some(Self {
            public_origin: origin?,
            http: http?,
            limits: limits?,
            database: database?,
            sign_in_url: sign_in_url?.unwrap_or_else(|| format!("{}/sign-in", clerk.accounts_origin())),
            clerk,
            accounts: accounts?,
            webhooks: webhooks?,
            keys: keys?,
            legacy_service: legacy_service?,
            audit: audit?,
            canary_every: canary?,
            scanning_keys: scanning_keys?,
            metrics: metrics?,
            log: log?,
        })
    }
}

impl OperatorSettings {
    /// Reads what an operator's command needs. Mistakes elsewhere are left to `serve` and `doctor`.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Mistakes> {
        let mut reader = Reader::open(file, environment)?;
        let (database, keys, log) =
            (database(&mut reader), KeySettings::read(&mut reader), LogSettings::read(&mut reader));
        let (audit, role_map) = (AuditSettings::read_partly(&mut reader), accounts::role_map(&mut reader));
        let read = || Some(Self { database: database?, role_map: role_map?, keys: keys?, audit: audit?, log: log? });
        reader.finish_partly(read())
    }
}

fn public_origin(reader: &mut Reader) -> Option<String> {
    let text = reader
        .required("public_url", "set it to the address that browsers use, for example https://portal.example.com")?;
    let origin = text.strip_suffix('/').unwrap_or(&text).to_owned();
    let authority = origin.strip_prefix("http://").unwrap_or_default();
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(authority, |(host, _)| host);
    if !is_origin(&origin) {
        reader.mistake("public_url", "must be scheme://host[:port] without a path");
    } else if !origin.starts_with("https://") && !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
        reader.mistake("public_url", "must begin with https:// (http:// is for localhost only)");
    }
    Some(origin)
}

impl HttpSettings {
    fn read(reader: &mut Reader) -> Option<Self> {
        let bind = reader.parsed("http.bind", "127.0.0.1:8080", "must be ADDRESS:PORT, for example 0.0.0.0:8080");
        let workers = reader.number("http.workers", 0, 0..=1024);
        let seconds = reader.number("http.shutdown_timeout_seconds", 10, 0..=600);
        let allowed_origins = reader.list("http.allowed_origins");
        for origin in allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            reader.mistake("http.allowed_origins", &format!("{origin:?} is not scheme://host[:port] without a slash"));
        }
        let networks = reader.list("http.trusted_proxies");
        let trusted_proxies = TrustedProxies::parse(networks.iter().map(String::as_str));
        if let Err(error) = &trusted_proxies {
            reader.mistake("http.trusted_proxies", &error.to_string());
        }
        Some(Self {
            bind: bind?,
            workers: usize::try_from(workers?).ok()?,
            allowed_origins,
            trusted_proxies: trusted_proxies.ok()?,
            shutdown_timeout: Duration::from_secs(seconds?),
        })
    }
}

fn database(reader: &mut Reader) -> Option<PgSettings> {
    let url =
        reader.required("database.url", "set it to postgresql://user:password@host:5432/database?sslmode=verify-full");
    let pool_size = reader.number("database.pool_size", 10, 2..=1000);
    let acquire = reader.number("database.acquire_timeout_ms", 3000, 10..=60_000);
    let statement = reader.number("database.statement_timeout_ms", 5000, 10..=600_000);
    let direct = reader
        .text("database.direct_url")
        .map(|url| PgTarget::parse(&url).map_err(|error| reader.mistake("database.direct_url", &error.to_string())));
    let target = PgTarget::parse(&url?).map_err(|error| reader.mistake("database.url", &error.to_string()));
    Some(PgSettings {
        target: target.ok()?,
        direct: direct.transpose().ok()?,
        pool_size: u32::try_from(pool_size?).ok()?,
        acquire_timeout: Duration::from_millis(acquire?),
        statement_timeout: Duration::from_millis(statement?),
    })
}

/// Reads `[clerk]`; what it must agree with is checked by [`agree`].
fn clerk(reader: &mut Reader) -> Option<ClerkOptions> {
    let publishable =
        reader.required("clerk.publishable_key", "copy it from Clerk's dashboard: pk_live_… or pk_test_…");
    let secret = reader.required("clerk.secret_key", "copy it from Clerk's dashboard: sk_live_… or sk_test_…");
    let compatibility: Option<Compatibility> =
        reader.parsed("clerk.compatibility", "strict", "must be strict or exact");
    let skew = reader.number("clerk.clock_skew_ms", 5000, 0..=60_000);
    let cache = reader.number("clerk.token_cache_entries", 10_000, 0..=10_000_000);
    let (jwt_key, issuer) = (reader.text("clerk.jwt_key"), reader.text("clerk.issuer"));
    let (api_url, api_version) = (reader.text("clerk.api_url"), reader.text("clerk.api_version"));
    let authorized_parties = reader.list("clerk.authorized_parties");
    let (proxy_url, machine_secret_key) = (reader.text("clerk.proxy_url"), reader.text("clerk.machine_secret_key"));
    let mut options = ClerkOptions::new(publishable?.trim());
    options.secret_key = Some(secret?.trim().into());
    options.machine_secret_key = machine_secret_key.map(Into::into);
    (options.jwt_key, options.issuer, options.authorized_parties) = (jwt_key, issuer, authorized_parties);
    options.proxy_url = proxy_url;
    options.api_url = api_url.unwrap_or(options.api_url);
    options.api_version = api_version.unwrap_or(options.api_version);
    options.choices = compatibility?.into();
    options.clock_skew = Duration::from_millis(skew?);
    options.token_cache_entries = usize::try_from(cache?).ok()?;
    Some(options)
}

/// The secrets of the endpoint: one, or two while one takes the place of the other.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
fn webhooks(reader: &mut Reader) -> Option<Option<WebhookVerifier>> {
    const KEY: &str = "clerk.webhook_signing_secret";
    let texts = reader.list(KEY);
    if texts.len() > 2 {
        reader.mistake(KEY, "holds two secrets at most: the new one, and the old one while it is replaced");
        return None;
    }
    let secrets = texts.iter().map(|text| WebhookSecret::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut secrets = secrets.map_err(|error| reader.mistake(KEY, &error.to_string())).ok()?.into_iter();
    let Some(first) = secrets.next() else { return Some(None) };
    let verifier = WebhookVerifier::new(first);
    Some(Some(secrets.next().into_iter().fold(verifier, WebhookVerifier::also_accepting)))
}

fn origin_of(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

/// None if the provider's own page is meant.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
fn sign_in_url(reader: &mut Reader) -> Option<Option<String>> {
    let Some(text) = reader.text("clerk.sign_in_url") else { return Some(None) };
    if !is_origin(&origin_of(&text)) {
        reader
            .mistake("clerk.sign_in_url", "must be an absolute URL, for example https://accounts.example.com/sign-in");
        return None;
    }
    Some(Some(text))
}

/// None if people sign in at this program. `sign_in_url` and `public_origin` are missing where they are mistakes that were reported.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
fn satellite(
    reader: &mut Reader,
    sign_in_url: Option<Option<&str>>,
    public_origin: Option<&str>,
) -> Option<Option<SatelliteOptions>> {
    let is_satellite: Option<bool> = reader.parsed("clerk.is_satellite", "false", "must be true or false");
    let domain = reader.text("clerk.domain");
    if !is_satellite? {
        if domain.is_some() {
            reader.mistake("clerk.domain", "is for a satellite; set clerk.is_satellite to true, or remove it");
        }
        return Some(None);
    }
    let Some(sign_in_url) = sign_in_url? else {
        reader.mistake(
            "clerk.sign_in_url",
            "is missing; set it to the page on the primary domain: nobody signs in on a satellite",
        );
        return None;
    };
    if Some(origin_of(sign_in_url).as_str()) == public_origin {
        reader.mistake("clerk.sign_in_url", "must be on the primary domain: nobody signs in on a satellite");
    }
    Some(Some(SatelliteOptions { domain, sign_in_url: Some(sign_in_url.to_owned()), auto_sync: false }))
}

/// The origins where tokens for this program are minted must be authorized: its own pages, and the frontends that may call it. In strict
/// mode they are what is authorized, unless more is said.
fn agree(
    reader: &mut Reader,
    mut options: ClerkOptions,
    origin: Option<&str>,
    http: Option<&HttpSettings>,
) -> Option<ClerkSettings> {
    let frontends = http.into_iter().flat_map(|http| http.allowed_origins.iter().map(String::as_str));
    let own: Vec<_> = origin.into_iter().chain(frontends).collect();
    if !options.authorized_parties.is_empty() {
        for missing in own.iter().filter(|own| !options.authorized_parties.iter().any(|party| party == **own)) {
            let message = format!("{missing} is missing: tokens minted there would be refused");
            reader.mistake("clerk.authorized_parties", &message);
        }
    } else if options.choices == StrictChoices::strict() {
        // A malformed one has been reported where it was set.
        options.authorized_parties = own.into_iter().filter(|own| is_origin(own)).map(ToOwned::to_owned).collect();
    }
    options.validate().map_err(|error| reader.mistake(error.setting(), &error.to_string())).ok()
}

impl MetricsSettings {
    fn read(reader: &mut Reader) -> Option<Self> {
        let bind = reader.optional("metrics.bind", "must be ADDRESS:PORT, for example 127.0.0.1:9090");
        let open = reader.parsed("metrics.open", "false", "must be true or false");
        Some(Self { bind, open: open? })
    }
}

impl LogSettings {
    fn read(reader: &mut Reader) -> Option<Self> {
        let format = match reader.text("log.format").as_deref() {
            None | Some("text") => Some(LogFormat::Text),
            Some("json") => Some(LogFormat::Json),
            Some(_) => {
                reader.mistake("log.format", "must be text or json");
                None
            }
        };
        let filter = reader.text("log.filter").unwrap_or_else(|| Self::default().filter);
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
            reader.mistake("log.filter", &error.to_string());
        }
        Some(Self { format: format?, filter })
    }
}

/// The environment of this process.
#[expect(clippy::disallowed_methods, reason = "this module alone reads the environment")]
pub fn process_environment() -> Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Environment(std::env::vars_os().filter_map(text).collect::<BTreeMap<_, _>>())
}
