//! The program with its production logging, for a benchmark.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use portal_app::serve::bind;
use portal_app::settings::{Environment, Settings};
use portal_app::telemetry;
use portal_app::wire::{Surroundings, Wired, wire};
use portal_dev_idp::DevIdp;

pub(crate) const ORIGIN: &str = "https://portal.example.test";

/// Serves on a free port of the loopback interface, with these settings besides those that are needed.
pub(crate) fn start(
    idp: &DevIdp,
    provider: SocketAddr,
    database: &str,
    settings: &[(&str, &str)],
) -> (Wired, SocketAddr) {
    let needed = [
        ("PORTAL_PUBLIC_URL", ORIGIN.to_owned()),
        ("PORTAL_HTTP__BIND", "127.0.0.1:0".to_owned()),
        ("PORTAL_KEYS__PEPPERS__1", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=".to_owned()),
        ("PORTAL_AUDIT__SIGNING_KEY", "c2lnbmluZyBrZXkgb2YgdGhlIHRlc3RzIDMyIGJ5dGU=".to_owned()),
        ("PORTAL_LIMITS__ADDRESS_READS_PER_MINUTE", "10000000".to_owned()),
        ("DATABASE_URL", database.to_owned()),
        ("CLERK_PUBLISHABLE_KEY", idp.instance().publishable_key().to_owned()),
        ("CLERK_SECRET_KEY", idp.instance().secret_key().to_owned()),
        ("CLERK_API_URL", format!("http://{provider}{}", portal_dev_idp::PATH)),
    ];
    let mut variables: BTreeMap<_, _> = needed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let settings = Settings::load(None, &Environment(variables)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    telemetry::start(&settings.log);
    let (http, metrics) = (settings.http.clone(), settings.metrics.clone());
    let wired = wire(settings, &Surroundings::default()).unwrap();
    let bound = bind(&wired, &http, &metrics, None).unwrap();
    let address = bound.address;
    tokio::spawn(async { bound.run().await.unwrap() });
    (wired, address)
}
