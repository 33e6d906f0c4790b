//! `portal doctor`: one line per check, each failure with its remedy.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use portal_api_keys::{LegacyToken, ListedServiceToken, PepperReader, PepperVersion, Peppers, ServiceTokenReader};
use portal_authz::action::ManageServiceTokens;
use portal_authz::{Platform, Scope, Unchecked};
use portal_clerk::{ClerkAuthenticator, JwksCheck};
use portal_kernel::{Clock, Timestamp};
use portal_postgres::{PgStore, pending_migrations};

use crate::cli::{Failure, SettingsSource, explain, print};
use crate::operator::operator;
use crate::settings::{HttpSettings, Settings, process_environment};
use crate::system::SystemClock;

/// Clocks may differ by this much before tokens are refused.
const TOLERATED_SKEW_SECONDS: i64 = 5;

/// A service token that was not used for so long after it was made is maybe nobody's.
const USED_WITHIN: Duration = Duration::from_hours(24);

/// A service token that ends sooner is to be replaced.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);

#[derive(Default)]
struct Report {
    text: String,
    failed: bool,
}

impl Report {
    fn ok(&mut self, what: &str, found: &str) {
        self.line("ok", what, found);
    }

    fn warn(&mut self, what: &str, found: &str) {
        self.line("warn", what, found);
    }

    fn fail(&mut self, what: &str, found: &str) {
        self.failed = true;
        self.line("FAIL", what, found);
    }

    fn line(&mut self, verdict: &str, what: &str, found: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{verdict:<5} {what:<14} {}", found.replace('\n', "; "));
    }
}

pub(crate) async fn run(from: &SettingsSource) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    let environment = process_environment();
    #[cfg(feature = "dev")]
    if from.config.is_none() && !environment.is_for_production() {
        report.ok("settings", "none given: checking the development database");
        let settings = crate::dev::operator_settings(&environment).await?;
        check_database(&mut report, &settings.database).await;
        return conclude(&report);
    }
    match Settings::load(from.config.as_deref(), &environment) {
        Ok(settings) => {
            report.ok("settings", "complete, and they agree with each other");
            check_proxies(&mut report, &settings.public_origin, &settings.http);
            check_database(&mut report, &settings.database).await;
            check_peppers(&mut report, &settings).await;
            check_webhooks(&mut report, &settings);
            check_legacy_service(&mut report, settings.legacy_service.as_ref());
            check_provider(&mut report, settings).await;
        }
        Err(mistakes) => {
            for mistake in &mistakes.0 {
                report.fail("settings", &mistake.to_string());
            }
        }
    }
    conclude(&report)
}

fn conclude(report: &Report) -> Result<ExitCode, Failure> {
    print(&report.text)?;
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn check_database(report: &mut Report, settings: &portal_postgres::PgSettings) {
    let store = match PgStore::new(settings) {
        Ok(store) => store,
        Err(error) => return report.fail("database", &explain(&error)),
    };
    let probe = match store.probe().await {
        Ok(probe) => probe,
        Err(error) => return report.fail("database", &explain(&error)),
    };
    let version = probe.version / 10_000;
    if version < 15 {
        report.fail("database", &format!("PostgreSQL {version} is too old; 15 or newer is needed"));
    } else if probe.read_only {
        report.fail("database", "the server only reads; connect to the primary");
    } else {
        report.ok("database", &format!("PostgreSQL {version} answers"));
    }
    match (probe.encrypted, settings.target.is_local(), settings.target.ssl_mode()) {
        (_, true, _) => report.ok("database TLS", "not needed: the server is on this machine"),
        (true, _, "verify-full") => report.ok("database TLS", "encrypted, and the server's name is verified"),
        (true, _, mode) => {
            report.warn(
                "database TLS",
                &format!("encrypted, but sslmode={mode} trusts any server; use sslmode=verify-full"),
            );
        }
        (false, ..) => report.fail("database TLS", "passwords and data travel in the clear; use sslmode=verify-full"),
    }
    match store.behind_transaction_pooler().await {
        Ok(false) => report.ok("database pool", "sessions are our own"),
        Ok(true) => report.fail(
            "database pool",
            "a pooler shares sessions between transactions; use its session mode or connect directly",
        ),
        Err(error) => report.fail("database pool", &explain(&error)),
    }
    match pending_migrations(&settings.target).await {
        Ok(pending) if pending.is_empty() => {
            report.ok("migrations", "all applied");
            check_roles(report, &store).await;
            check_ends(report, &store).await;
            check_services(report, &store).await;
        }
        Ok(pending) => report.fail("migrations", &format!("{} not applied; run: portal migrate", pending.len())),
        Err(error) => report.fail("migrations", &explain(&error)),
    }
}

async fn check_roles(report: &mut Report, store: &PgStore) {
    match store.unmapped_roles().await {
        Ok(unmapped) if unmapped.is_empty() => report.ok("roles", "every member's role at Clerk means one here"),
        Ok(unmapped) => report.warn(
            "roles",
            &format!(
                "members with {} have no access: say what it means in accounts.roles, then run: portal reconcile",
                unmapped.join(", ")
            ),
        ),
        Err(error) => report.fail("roles", &explain(&error)),
    }
}

async fn check_ends(report: &mut Report, store: &PgStore) {
    match store.unconfirmed_ends().await {
        Ok(ends) => tell_of_ends(report, ends.all),
        Err(error) => report.fail("sessions", &explain(&error)),
    }
}

fn tell_of_ends(report: &mut Report, unconfirmed: u64) {
    if unconfirmed == 0 {
        return report.ok("sessions", "Clerk knows of every session that ended here");
    }
    report.warn(
        "sessions",
        &format!(
            "{unconfirmed} ended here, and Clerk may still make tokens for them: a running server tells it until it answers, and its log \
             says what is in the way"
        ),
    );
}

async fn check_services(report: &mut Report, store: &PgStore) {
    let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&operator(None).principal);
    let listed = match cleared {
        Ok(cleared) => store.all(&cleared).await,
        Err(denied) => return report.fail("services", &explain(&denied)),
    };
    match listed {
        Ok(tokens) => tell_of_services(report, &tokens, SystemClock.now()),
        Err(error) => report.fail("services", &explain(&error)),
    }
}

fn tell_of_services(report: &mut Report, tokens: &[ListedServiceToken], now: Timestamp) {
    let live: Vec<_> = tokens.iter().filter(|listed| !listed.token.state(now).is_over()).collect();
    let named = |wanted: &dyn Fn(&ListedServiceToken) -> bool| {
        let names = live.iter().filter(|listed| wanted(listed)).map(|listed| listed.token.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let never = named(&|listed| listed.last_used_at.is_none() && now.since(listed.token.created_at) >= USED_WITHIN);
    let soon = named(&|listed| listed.token.expires_at.is_some_and(|end| end.since(now) < ENDS_SOON));
    if !never.is_empty() {
        report.warn("services", &format!("never used: {never}; run: portal service-token revoke --name NAME"));
    }
    if !soon.is_empty() {
        let days = ENDS_SOON.as_secs() / 86_400;
        report.warn("services", &format!("ends within {days} days: {soon}; make another token under another name"));
    }
    if never.is_empty() && soon.is_empty() {
        report.ok("services", &format!("{} tokens, all in use and for longer", live.len()));
    }
}

async fn check_peppers(report: &mut Report, settings: &Settings) {
    let cleared = Unchecked::new(Platform).authorize::<ManageServiceTokens>(&operator(None).principal);
    let (Ok(store), Ok(cleared)) = (PgStore::new(&settings.database), cleared) else { return };
    match store.peppers_in_use(&cleared, SystemClock.now()).await {
        Ok(in_use) => tell_of_peppers(report, &settings.keys.peppers, &in_use),
        Err(error) => report.fail("peppers", &explain(&error)),
    }
}

fn tell_of_peppers(report: &mut Report, peppers: &Peppers, in_use: &[(PepperVersion, usize)]) {
    let known: Vec<_> = peppers.versions().collect();
    for (version, secrets) in in_use {
        let (number, is_newest) = (version.number(), *version == peppers.newest());
        if !known.contains(version) {
            report.fail(
                "peppers",
                &format!("{secrets} live secrets need version {number}: set keys.peppers.{number} again"),
            );
        } else if is_newest {
            report.ok("peppers", &format!("{secrets} live secrets were made with version {number}, the newest"));
        } else {
            report.ok("peppers", &format!("{secrets} live secrets still need version {number}"));
        }
    }
    let is_idle = |version: &&PepperVersion| in_use.iter().all(|(used, _)| used != *version);
    for version in known.iter().filter(|version| **version != peppers.newest()).filter(is_idle) {
        let number = version.number();
        report.warn("peppers", &format!("no live secret needs version {number}: remove keys.peppers.{number}"));
    }
    if in_use.is_empty() {
        report.ok("peppers", "there are no secrets yet");
    }
}

/// This program speaks plain HTTP: where browsers come by HTTPS, something in front of it ends TLS.
fn check_proxies(report: &mut Report, public_origin: &str, http: &HttpSettings) {
    if !public_origin.starts_with("https://") {
        return report.ok("proxies", "none needed: browsers come to this program itself");
    }
    if !http.trusted_proxies.is_empty() {
        return report.ok("proxies", "what http.trusted_proxies forward for counts as the address of a request");
    }
    let remedy = match http.bind.ip() {
        address if address.is_loopback() => address.to_string(),
        _ => "the addresses of what is in front, for example 10.0.0.0/8".to_owned(),
    };
    report.warn(
        "proxies",
        &format!(
            "something in front of this program ends TLS, and all requests come from its address and share one limit: set \
             http.trusted_proxies to {remedy}"
        ),
    );
}

fn check_webhooks(report: &mut Report, settings: &Settings) {
    match &settings.webhooks {
        Some(_) => report.ok("webhooks", "deliveries of Clerk can be verified"),
        None => report.warn(
            "webhooks",
            "CLERK_WEBHOOK_SIGNING_SECRET is not set: what happens at Clerk arrives with the hourly scan only; add an endpoint in \
             Clerk's dashboard",
        ),
    }
}

fn check_legacy_service(report: &mut Report, legacy: Option<&LegacyToken>) {
    let Some(legacy) = legacy else { return };
    let scopes = legacy.scopes().iter().map(Scope::as_str).collect::<Vec<_>>().join(", ");
    report.warn(
        "legacy token",
        &format!(
            "whoever knows PORTAL_SERVICE_AUTH_TOKEN may {scopes}, and nobody can tell who it is: give each service a token of its own \
             (portal service-token create) and remove the setting"
        ),
    );
}

async fn check_provider(report: &mut Report, settings: Settings) {
    let authenticator = match ClerkAuthenticator::new(settings.clerk, Arc::new(SystemClock)) {
        Ok(authenticator) => authenticator,
        Err(error) => return report.fail("clerk", &explain(&error)),
    };
    match authenticator.check_jwks().await {
        JwksCheck::Reachable { keys, clock_ahead_seconds, jwt_key_is_listed } => {
            report.ok("clerk keys", &format!("the secret key is accepted, and {keys} signing keys arrive"));
            if jwt_key_is_listed == Some(false) {
                report.fail("clerk jwt_key", "is not among Clerk's signing keys; copy it again from the dashboard");
            }
            match clock_ahead_seconds {
                Some(ahead) if ahead.abs() > TOLERATED_SKEW_SECONDS => report.fail(
                    "clock",
                    &format!(
                        "{ahead} s ahead of Clerk's; tokens will be refused: synchronize this machine's clock (NTP)"
                    ),
                ),
                Some(ahead) => report.ok("clock", &format!("{ahead} s ahead of Clerk's")),
                None => report.warn("clock", "Clerk's answer carries no time to compare with"),
            }
        }
        JwksCheck::NotConfigured => report.ok("clerk keys", "not asked for: tokens are verified with clerk.jwt_key"),
        JwksCheck::SecretKeyInvalid => {
            report.fail("clerk keys", "Clerk refuses the secret key; copy it again from the dashboard");
        }
        JwksCheck::Failed { reason } => {
            report.fail("clerk keys", &format!("Clerk's API does not answer ({reason}); allow outgoing HTTPS to it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use portal_api_keys::{Brand, KeySecret, KeySecrets, Kid, Networks, ServiceName, ServiceToken};
    use portal_authz::Scopes;
    use portal_http_kit::TrustedProxies;

    use super::*;

    fn told(public_origin: &str, bind: &str, trusted: &[&str]) -> String {
        let http = HttpSettings {
            bind: bind.parse().unwrap(),
            workers: 0,
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::parse(trusted.iter().copied()).unwrap(),
            shutdown_timeout: Duration::ZERO,
        };
        let mut report = Report::default();
        check_proxies(&mut report, public_origin, &http);
        assert!(!report.failed, "it is no error");
        report.text
    }

    #[test]
    fn a_proxy_that_nobody_trusts_is_warned_of_with_what_to_set() {
        for (bind, remedy) in [
            ("0.0.0.0:8080", "to the addresses of what is in front, for example 10.0.0.0/8\n"),
            ("[::]:8080", "to the addresses of what is in front, for example 10.0.0.0/8\n"),
            ("10.1.2.3:8080", "to the addresses of what is in front, for example 10.0.0.0/8\n"),
            ("127.0.0.1:8080", "to 127.0.0.1\n"),
            ("[::1]:8080", "to ::1\n"),
        ] {
            let line = told("https://portal.example.com", bind, &[]);
            assert!(line.starts_with("warn  proxies"), "{line}");
            assert!(line.ends_with(&format!("set http.trusted_proxies {remedy}")), "{line}");
        }
    }

    #[test]
    fn ends_that_clerk_did_not_confirm_are_warned_of() {
        for (unconfirmed, expected) in
            [(0, "ok    sessions       Clerk knows"), (7, "warn  sessions       7 ended here")]
        {
            let mut report = Report::default();
            tell_of_ends(&mut report, unconfirmed);
            assert!(report.text.starts_with(expected) && !report.failed, "{}", report.text);
        }
    }

    /// Not young any more, and in use.
    fn token(name: &str, now: Timestamp) -> ListedServiceToken {
        let created_at = now.minus(USED_WITHIN);
        let kid = Kid::parse("abcdefghijkl").unwrap();
        let token = ServiceToken {
            id: "svc_00000000000000000000000001".parse().unwrap(),
            name: ServiceName::parse(name).unwrap(),
            scopes: Scopes::default(),
            networks: Networks::default(),
            secrets: KeySecrets::first(KeySecret { kid, created_at, expires_at: None, revoked_at: None }),
            created_at,
            expires_at: None,
            revoked_at: None,
        };
        ListedServiceToken { token, last_used_at: Some(created_at) }
    }

    #[test]
    fn service_tokens_that_nobody_uses_or_that_end_soon_are_warned_of() {
        let now: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        let told = |change: &dyn Fn(&mut ListedServiceToken)| {
            let mut changed = token("edge", now);
            change(&mut changed);
            let mut report = Report::default();
            tell_of_services(&mut report, &[token("other", now), changed], now);
            assert!(!report.failed);
            report.text
        };
        let second = Duration::from_secs(1);
        let (unused, ending) =
            ("warn  services       never used: edge;", "warn  services       ends within 14 days: edge;");
        let fine = "ok    services       2 tokens";
        assert!(told(&|_| ()).starts_with(fine));
        assert!(told(&|listed| listed.last_used_at = None).starts_with(unused));
        let young = |listed: &mut ListedServiceToken| {
            listed.last_used_at = None;
            listed.token.created_at = now.minus(USED_WITHIN).plus(second);
        };
        assert!(told(&young).starts_with(fine), "it may still be handed out");
        let ends = |end: Timestamp| told(&move |listed| listed.token.expires_at = Some(end));
        assert!(ends(now.plus(ENDS_SOON)).starts_with(fine));
        assert!(ends(now.plus(ENDS_SOON).minus(second)).starts_with(ending));
        assert!(ends(now).starts_with("ok    services       1 tokens"), "it has ended");
    }

    #[test]
    fn it_is_told_which_peppers_secrets_need_and_which_can_go() {
        let version = |number| PepperVersion::parse(number).unwrap();
        let peppers = Peppers::new([1, 2, 3].map(|number| (version(number), vec![7; 32].into()))).unwrap();
        let told = |in_use: &[(i16, usize)]| {
            let in_use: Vec<_> = in_use.iter().map(|(number, secrets)| (version(*number), *secrets)).collect();
            let mut report = Report::default();
            tell_of_peppers(&mut report, &peppers, &in_use);
            let lines: Vec<_> = report.text.lines().map(|line| line.replace(" peppers       ", "")).collect();
            (lines, report.failed)
        };
        let (lines, failed) = told(&[(1, 4), (3, 9)]);
        assert!(!failed);
        assert_eq!(
            lines,
            [
                "ok    4 live secrets still need version 1",
                "ok    9 live secrets were made with version 3, the newest",
                "warn  no live secret needs version 2: remove keys.peppers.2",
            ]
        );
        let (lines, failed) = told(&[(1, 1), (2, 1), (4, 5)]);
        assert!(failed);
        assert_eq!(lines[2], "FAIL  5 live secrets need version 4: set keys.peppers.4 again");
        assert_eq!(lines.len(), 3, "the newest need not be in use yet");
        assert!(told(&[]).0.contains(&"ok    there are no secrets yet".to_owned()));
    }

    #[test]
    fn a_legacy_token_is_warned_of_without_its_text_and_none_is_not_mentioned() {
        let text = "0123456789abcdef0123456789abcdef";
        let scopes = Scopes::from_iter([Scope::KeysVerify]);
        let legacy = LegacyToken::new(&text.into(), scopes, &Brand::default()).unwrap();
        let mut report = Report::default();
        check_legacy_service(&mut report, None);
        assert_eq!(report.text, "");
        check_legacy_service(&mut report, Some(&legacy));
        assert!(report.text.starts_with("warn  legacy token") && report.text.contains("may keys:verify,"));
        assert!(!report.text.contains(text) && !report.failed);
    }

    #[test]
    fn a_trusted_proxy_and_none_at_all_are_good() {
        let trusted = told("https://portal.example.com", "0.0.0.0:8080", &["10.0.0.0/8"]);
        let local = told("http://localhost:8080", "127.0.0.1:8080", &[]);
        for line in [trusted, local] {
            assert!(line.starts_with("ok    proxies"), "{line}");
        }
    }
}
