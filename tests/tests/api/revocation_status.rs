//! How long servers go on with revoked keys, as they measure it themselves.

use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder, within};
use reqwest::Method;

const PATH: &str = "/v1/status/revocation";

/// Measurements of the last hour; nobody has to be signed in.
fn measurements(answer: &Answer) -> u64 {
    answer.json()["last_hour"]["measurements"].as_u64().unwrap_or_default()
}

async fn status(portal: &Portal) -> Answer {
    portal.send(portal.request(Method::GET, PATH)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_measures_what_one_revokes_and_nothing_piles_up() {
    let builder = PortalBuilder::default().set("PORTAL_CANARY__ENABLED", "true").set("PORTAL_METRICS__OPEN", "true");
    let portal = builder.set("PORTAL_CANARY__EVERY_MS", "1000").start().await;
    let other = portal.replica();
    let have_measured =
        async || measurements(&status(&portal).await) >= 3 && measurements(&other.get(PATH, "").await) >= 3;
    within(Duration::from_mins(1), "both servers measure", have_measured).await;
    for answer in [status(&portal).await, other.get(PATH, "").await] {
        let json = answer.json();
        assert_eq!(json["measuring"], true);
        for delay in [&json["last_ms"], &json["last_hour"]["p50_ms"], &json["last_hour"]["p99_ms"]] {
            assert!(delay.as_u64().unwrap() < 1_000, "{answer:?}");
        }
        assert!(json["measured_at"].as_str().unwrap().ends_with('Z'), "{answer:?}");
        assert!(!answer.text.contains("key_") && !answer.text.contains("acc_"), "{answer:?}");
    }
    let metrics = portal.get("/metrics", "").await.text;
    let count = |line: &str| metrics.lines().find_map(|text| text.strip_prefix(line)?.parse::<u64>().ok());
    assert!(count("portal_key_revocation_seconds_count ") >= Some(3), "{metrics}");
    let buckets = ["0.005", "0.1", "1", "5", "+Inf"]
        .map(|bound| count(&format!("portal_key_revocation_seconds_bucket{{le=\"{bound}\"}} ")).unwrap());
    assert!(buckets.is_sorted() && Some(buckets[4]) == count("portal_key_revocation_seconds_count "), "{metrics}");
    assert_eq!(buckets[2], buckets[4], "within a second");
    let rows = "SELECT (SELECT count(*) FROM revocation_canary) + (SELECT count(*) FROM accounts)
        + (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM audit_events) AS count";
    assert_eq!(portal.database.count(rows).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_off_nothing_is_measured_and_nothing_is_told() {
    let portal = PortalBuilder::default().set("PORTAL_METRICS__OPEN", "true").start().await;
    assert_eq!(status(&portal).await.json(), serde_json::json!({ "measuring": false }));
    assert!(!portal.get("/metrics", "").await.text.contains("portal_key_revocation_seconds"));
}
