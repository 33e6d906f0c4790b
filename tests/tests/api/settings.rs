//! `serve` with settings that are missing, unknown or contradictory: one line for each, and no start.

use std::collections::BTreeMap;

use portal_app::settings::{Environment, Settings};

fn good() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("PORTAL_PUBLIC_URL", "https://portal.example.com".to_owned()),
        ("DATABASE_URL", "postgresql://me:s3cret-password@db.example.com/portal?sslmode=verify-full".to_owned()),
        ("CLERK_PUBLISHABLE_KEY", "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned()),
        ("CLERK_SECRET_KEY", "sk_live_s3cret".to_owned()),
        ("PORTAL_KEYS__PEPPERS__1", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=".to_owned()),
        ("PORTAL_AUDIT__SIGNING_KEY", "c2lnbmluZyBrZXkgb2YgYmxhY2stYm94IHRlc3RzIDM=".to_owned()),
    ])
}

fn mistakes(changes: &[(&'static str, &str)]) -> Vec<String> {
    let mut variables = good();
    for (name, value) in changes {
        variables.insert(name, (*value).to_owned());
    }
    load(&variables)
}

fn load(variables: &BTreeMap<&'static str, String>) -> Vec<String> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let outcome = Settings::load(None, &Environment(environment));
    let lines: Vec<_> =
        outcome.err().map(|all| all.to_string().lines().map(ToOwned::to_owned).collect()).unwrap_or_default();
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "{lines:?}");
    lines
}

#[test]
fn complete_settings_start() {
    assert_eq!(mistakes(&[]), Vec::<String>::new());
}

#[test]
fn nothing_set_names_everything_that_is_missing_on_one_line_each() {
    let lines = load(&BTreeMap::new());
    let missing: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        missing,
        [
            "audit.signing_key (PORTAL_AUDIT__SIGNING_KEY)",
            "clerk.publishable_key (CLERK_PUBLISHABLE_KEY)",
            "clerk.secret_key (CLERK_SECRET_KEY)",
            "database.url (DATABASE_URL)",
            "keys.peppers.1 (PORTAL_KEYS__PEPPERS__1)",
            "public_url (PORTAL_PUBLIC_URL)",
        ]
    );
    assert!(lines.iter().all(|line| line.contains("is missing; ")), "{lines:?}");
}

#[test]
fn each_mistake_is_one_line_that_names_the_setting() {
    for (name, value, expected) in [
        ("PORTAL_HTTP__BINDD", "x", "unknown setting"),
        ("PORTAL_NONSENSE__KEY", "x", "unknown setting"),
        ("PORTAL_HTTP__BIND", "8080", "must be ADDRESS:PORT"),
        ("PORTAL_HTTP__WORKERS", "many", "must be a number from 0 to 1024"),
        ("PORTAL_HTTP__ALLOWED_ORIGINS", "https://app.example.com/", "is not scheme://host"),
        ("PORTAL_HTTP__ALLOWED_ORIGINS", "*", "is not scheme://host"),
        ("PORTAL_HTTP__TRUSTED_PROXIES", "10.0.0.0/99", "is not an IP address or network"),
        ("PORTAL_PUBLIC_URL", "http://portal.example.com", "must begin with https://"),
        ("PORTAL_PUBLIC_URL", "http://localhost.evil.example", "must begin with https://"),
        ("PORTAL_DATABASE__URL", "postgresql://other.example.com/portal", "contradict each other"),
        ("PORTAL_KEYS__PEPPERS__01", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=", "given twice"),
        ("PORTAL_PUBLIC_URL", "https://portal.example.com/app", "without a path"),
        ("DATABASE_URL", "mysql://x", "must be a URL such as postgresql://"),
        ("DATABASE_URL", "postgresql://me:s3cret@h/d?sslmode=verify-ca", "sslmode must be"),
        ("PORTAL_DATABASE__POOL_SIZE", "1", "must be a number from 2 to 1000"),
        ("CLERK_PUBLISHABLE_KEY", "pk_live_nonsense", "clerk.publishable_key"),
        ("CLERK_SECRET_KEY", "sk_test_s3cret", "belongs to a development instance"),
        ("CLERK_AUTHORIZED_PARTIES", "https://other.example.com", "https://portal.example.com is missing"),
        ("CLERK_DOMAIN", "satellite.example", "clerk.domain (CLERK_DOMAIN): is for a satellite"),
        ("CLERK_IS_SATELLITE", "maybe", "clerk.is_satellite (CLERK_IS_SATELLITE): must be true or false"),
        ("CLERK_IS_SATELLITE", "true", "clerk.sign_in_url (CLERK_SIGN_IN_URL): is missing"),
        ("CLERK_MACHINE_SECRET_KEY", "sk_live_s3cret", "clerk.machine_secret_key (CLERK_MACHINE_SECRET_KEY): is not a"),
        ("PORTAL_CLERK__COMPATIBILITY", "lenient", "must be strict or exact"),
        ("CLERK_JWT_KEY", "-----BEGIN PUBLIC KEY-----s3cret", "clerk.jwt_key"),
        ("PORTAL_KEYS__PEPPERS__1", "s3cret", "must be base64 of at least 32 random bytes"),
        ("PORTAL_KEYS__PEPPERS__X", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=", "versions are numbers"),
        ("PORTAL_KEYS__PEPPER", "2", "must be the version of one of keys.peppers"),
        ("PORTAL_KEYS__PEPPER", "0", "must be the version of one of keys.peppers"),
        ("PORTAL_KEYS__BRAND", "Cort!", "a brand is"),
        ("PORTAL_KEYS__MOST_PER_ACCOUNT", "0", "must be a number from 1 to 10000"),
        (
            "PORTAL_AUDIT__SIGNING_KEY",
            "czNjcmV0",
            "must be base64 of 32 random bytes; make one with: openssl rand -base64 32",
        ),
        ("PORTAL_AUDIT__PUBLIC_KEYS", "abc", "must be public keys of 32 bytes in base64"),
        ("PORTAL_LIMITS__USER_READS_PER_MINUTE", "-1", "must be a number from 0 to 10000000"),
        ("PORTAL_LIMITS__ADDRESS_WRITES_PER_MINUTE", "10000001", "must be a number from 0 to 10000000"),
        ("PORTAL_LIMITS__ENTRIES", "0", "must be a number from 1000 to 10000000"),
        ("PORTAL_SERVICE_AUTH_TOKEN", "s3cret", "services.legacy_token (PORTAL_SERVICE_AUTH_TOKEN): has at least 32"),
        (
            "PORTAL_SERVICE_AUTH_TOKEN",
            "0123456789s3cret0123456789abcdef",
            "services.legacy_scopes (PORTAL_SERVICES__LEGACY_SCOPES): is missing",
        ),
        ("PORTAL_SERVICES__LEGACY_SCOPES", "keys:verify", "is for services.legacy_token, which is not set"),
        ("PORTAL_SERVICES__LEGACY_SCOPES", "keys:forge", "services.legacy_scopes"),
        ("PORTAL_LIMITS__LEGACY_SERVICES_PER_MINUTE", "-1", "must be a number from 0 to 10000000"),
        ("PORTAL_METRICS__BIND", "127.0.0.1:8080", "must differ from http.bind"),
        ("PORTAL_LOG__FORMAT", "xml", "must be text or json"),
        ("PORTAL_LOG__FILTER", "portal=[[", "log.filter"),
    ] {
        let lines = mistakes(&[(name, value)]);
        assert_eq!(lines.len(), 1, "{name}={value}: {lines:?}");
        assert!(lines[0].contains(expected), "{name}={value}: {lines:?}");
    }
}

#[test]
fn a_legacy_token_is_off_unless_it_is_set_with_what_it_may_do() {
    let legacy = |changes: &[(&'static str, &'static str)]| {
        let complete = [
            ("PORTAL_SERVICE_AUTH_TOKEN", "0123456789abcdef0123456789abcdef"),
            ("PORTAL_SERVICES__LEGACY_SCOPES", "keys:verify,metrics:read"),
        ];
        mistakes(&[&complete, changes].concat())
    };
    assert_eq!(legacy(&[]), Vec::<String>::new());
    for (name, value, expected) in [
        ("PORTAL_SERVICE_AUTH_TOKEN", "portal_svc_89abcdef0123456789abcdef", "must be no key or token of this program"),
        ("PORTAL_SERVICE_AUTH_TOKEN", "cort_live_789abcdef0123456789abcdef", "must be no key or token of this program"),
        ("PORTAL_SERVICE_AUTH_TOKEN", "two words 89abcdef0123456789abcdef", "has visible ASCII characters only"),
        ("PORTAL_SERVICES__LEGACY_TOKEN", "another-89abcdef0123456789abcdef", "contradict each other"),
    ] {
        let lines = legacy(&[(name, value)]);
        assert_eq!(lines.len(), 1, "{name}={value}: {lines:?}");
        assert!(lines[0].contains(expected), "{name}={value}: {lines:?}");
    }
}

#[test]
fn a_satellite_has_an_address_of_its_own_and_its_people_sign_in_elsewhere() {
    let satellite = |changes: &[(&'static str, &'static str)]| {
        let complete = [
            ("CLERK_IS_SATELLITE", "true"),
            ("CLERK_DOMAIN", "example.com"),
            ("CLERK_SIGN_IN_URL", "https://primary.example/sign-in"),
        ];
        mistakes(&[&complete, changes].concat())
    };
    assert_eq!(satellite(&[]), Vec::<String>::new());
    assert_eq!(satellite(&[("CLERK_DOMAIN", ""), ("CLERK_PROXY_URL", "/__clerk")]), Vec::<String>::new());
    for (name, value, expected) in [
        ("CLERK_DOMAIN", "", "clerk.domain (CLERK_DOMAIN): is missing, and so is clerk.proxy_url"),
        ("CLERK_DOMAIN", "https://example.com", "is not a domain such as satellite.example"),
        (
            "CLERK_SIGN_IN_URL",
            "https://portal.example.com/in",
            "clerk.sign_in_url (CLERK_SIGN_IN_URL): must be on the primary",
        ),
        ("CLERK_SIGN_IN_URL", "/sign-in", "must be an absolute URL"),
        ("PORTAL_CLERK__DOMAIN", "other.example", "contradict each other"),
    ] {
        let lines = satellite(&[(name, value)]);
        assert_eq!(lines.len(), 1, "{name}={value}: {lines:?}");
        assert!(lines[0].contains(expected), "{name}={value}: {lines:?}");
    }
}

#[test]
fn the_names_that_clerk_made_standard_reach_the_library() {
    let mut variables = good();
    variables.extend([
        ("CLERK_IS_SATELLITE", "true".to_owned()),
        ("CLERK_DOMAIN", "example.com".to_owned()),
        ("CLERK_SIGN_IN_URL", "https://primary.example/sign-in".to_owned()),
        ("CLERK_MACHINE_SECRET_KEY", " ak_s3cret ".to_owned()),
    ]);
    let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let settings = Settings::load(None, &Environment(environment)).unwrap_or_else(|all| panic!("{all}"));
    assert!(settings.clerk.machine_secret_key().is_some());
    assert_eq!(settings.clerk.accounts_origin(), "https://accounts.example.com");
    assert_eq!(settings.sign_in_url, "https://primary.example/sign-in");
    let told = format!("{:?}", settings.clerk);
    assert!(told.contains("satellite: Some(") && !told.contains("s3cret"), "{told}");
}

#[test]
fn every_setting_of_the_document_exists_by_both_names() {
    let document = std::fs::read_to_string(e2e::checkout().join("docs/settings.md")).unwrap();
    let rows: Vec<Vec<_>> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', '`', ' '])).collect())
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in &rows {
        let (key, name) = (row[0], row[1].replace("__N", "__1"));
        // Most refuse such a value, and name themselves; none is unknown.
        let mut variables: BTreeMap<String, String> =
            good().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        variables.insert(name.clone(), "\u{1}".to_owned());
        let outcome = Settings::load(None, &Environment(variables));
        let told = outcome.err().map(|all| all.to_string()).unwrap_or_default();
        assert!(!told.contains("unknown setting"), "{key}: {told}");
        assert!(told.is_empty() || told.contains(&key.replace(".N", ".1")) && told.contains(&name), "{key}: {told}");
    }
}

#[test]
fn limits_hold_unless_they_are_switched_off_and_writes_have_the_smaller_ones() {
    let load = |limit: Option<&str>| {
        let mut variables: BTreeMap<_, _> = good().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let name = "PORTAL_LIMITS__USER_READS_PER_MINUTE".to_owned();
        variables.extend(limit.map(|limit| (name, limit.to_owned())));
        Settings::load(None, &Environment(variables)).unwrap_or_else(|all| panic!("{all}")).limits
    };
    let limits = load(None);
    assert!(limits.user_reads > limits.user_writes && limits.user_writes > limits.user_provider_calls);
    assert!(limits.address_reads > limits.address_writes && limits.address_writes > limits.user_writes);
    assert!(limits.user_provider_calls > 0 && limits.address_reads > limits.user_reads);
    assert_eq!(load(Some("0")).user_reads, 0);
    assert_eq!(load(Some("7")).user_reads, 7);
}

#[test]
fn several_mistakes_are_told_together() {
    let lines = mistakes(&[("PORTAL_HTTP__BIND", "x"), ("PORTAL_LOG__FORMAT", "xml"), ("PORTAL_WHAT__EVER", "1")]);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn names_that_kubernetes_injects_are_not_ours() {
    let injected = [
        ("PORTAL_PORT", "tcp://10.0.0.1:80"),
        ("PORTAL_SERVICE_HOST", "10.0.0.1"),
        ("PORTAL_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(mistakes(&injected), Vec::<String>::new());
}

#[test]
fn a_file_is_read_and_the_environment_wins_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portal.toml");
    let text = "[http]\nbind = \"127.0.0.1:1\"\nallowed_origins = [\"https://a.example.com\", \"https://b.example.com\"]\n[log]\nformat = \"json\"\n";
    std::fs::write(&file, text).unwrap();
    let mut environment: BTreeMap<_, _> = good().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    environment.insert("PORTAL_HTTP__BIND".to_owned(), "127.0.0.1:2".to_owned());
    let settings = Settings::load(Some(&file), &Environment(environment.clone())).unwrap_or_else(|all| panic!("{all}"));
    assert_eq!(settings.http.bind.port(), 2);
    assert_eq!(settings.http.allowed_origins.len(), 2);
    assert_eq!(settings.clerk.authorized_parties().len(), 3, "own pages and both frontends");

    std::fs::write(&file, "[http]\nbnd = \"x\"\n[keys]\npepper = \"s3cret\"\n").unwrap();
    let lines = Settings::load(Some(&file), &Environment(environment.clone())).err().unwrap().to_string();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    std::fs::write(&file, "not toml").unwrap();
    assert_eq!(Settings::load(Some(&file), &Environment(environment)).err().unwrap().to_string().lines().count(), 1);
}
