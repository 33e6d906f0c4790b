//! `portal doctor`: one line per check, each failure with its remedy.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use portal_clerk::{ClerkAuthenticator, JwksCheck};
use portal_postgres::{PgStore, pending_migrations};

use crate::cli::{Failure, SettingsSource, explain, print};
use crate::settings::{HttpSettings, Settings, process_environment};
use crate::system::SystemClock;

/// Clocks may differ by this much before tokens are refused.
const TOLERATED_SKEW_SECONDS: i64 = 5;

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
            check_webhooks(&mut report, &settings);
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
    use std::time::Duration;

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

    #[test]
    fn a_trusted_proxy_and_none_at_all_are_good() {
        let trusted = told("https://portal.example.com", "0.0.0.0:8080", &["10.0.0.0/8"]);
        let local = told("http://localhost:8080", "127.0.0.1:8080", &[]);
        for line in [trusted, local] {
            assert!(line.starts_with("ok    proxies"), "{line}");
        }
    }
}
