//! Keys of accounts that are gone: refused at once, and revoked for good soon after.

use std::time::Duration;

use e2e::{Portal, Replica, within};
use serde_json::json;

/// The same for both servers.
const SOON: Duration = Duration::from_secs(10);

/// Who ended which key, why, and how often the trail says so.
const TRAIL: &str = "SELECT concat_ws(' ', actor_kind, actor_id, reason, count(*)) AS text FROM audit_events
    WHERE action = 'api_key.revoked' GROUP BY actor_kind, actor_id, reason, subject";

async fn live_keys(portal: &Portal) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL)
        + (SELECT count(*) FROM api_key_secrets WHERE revoked_at IS NULL) AS count";
    portal.database.count(sql).await.unwrap()
}

async fn decision_of(replica: &Replica, gateway: &str, secret: &str) -> String {
    replica.post("/v1/keys/verify", gateway, &json!({ "key": secret })).await.text_at("/decision")
}

#[tokio::test(flavor = "multi_thread")]
async fn t28_keys_that_servers_know_end_with_the_person_within_a_second() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let other = portal.replica();
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    portal.hearing().await;
    other.hearing().await;
    let checkouts = || portal.wired.store.checkouts() + other.wired.store.checkouts();
    let are_known = async || {
        let before = checkouts();
        assert_eq!(portal.verify(&gateway, &secret).await.json()["decision"], "allow");
        assert_eq!(decision_of(&other, &gateway, &secret).await, "allow");
        checkouts() == before
    };
    within(SOON, "both servers know the key", are_known).await;
    portal.idp.remove_person(&portal.person("stranger").user_id);
    portal.idp.webhooks_settled().await;
    assert_eq!(portal.verify(&gateway, &secret).await.json()["decision"], "deny");
    let is_over = async || decision_of(&other, &gateway, &secret).await == "deny";
    within(Duration::from_secs(1), "the other server goes on", is_over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_deleted_person_are_revoked_once_by_however_many_servers() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let (others, account) = ([portal.replica(), portal.replica()], portal.personal_account("stranger").await);
    for _ in 0..3 {
        portal.create_key("stranger", &account).await;
    }
    portal.hearing().await;
    for other in &others {
        other.hearing().await;
    }
    assert_eq!(live_keys(&portal).await, 6);
    portal.idp.remove_person(&portal.person("stranger").user_id);
    portal.idp.webhooks_settled().await;
    within(SOON, "the keys are revoked", async || live_keys(&portal).await == 0).await;
    let expected = ["system key-ends the account was deleted 1"; 3];
    assert_eq!(portal.database.texts(TRAIL).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_accounts_that_went_while_no_server_heard_of_it_are_revoked_at_the_next_start() {
    let portal = Portal::start().await;
    let account = portal.acme().await;
    let personal = portal.personal_account("alice").await;
    portal.create_key("alice", &account).await;
    let (kept, _) = portal.create_key("alice", &personal).await;
    // Nobody is told.
    let gone = "UPDATE accounts SET state = 'deleted' WHERE provider_organization_id IS NOT NULL";
    portal.database.execute(gone).await.unwrap();
    let _started = portal.replica();
    within(SOON, "the key is revoked", async || live_keys(&portal).await == 2).await;
    let expected = ["system key-ends the account was deleted 1"];
    assert_eq!(portal.database.texts(TRAIL).await.unwrap(), expected);
    let kept = portal.get(&format!("/v1/api-keys/{kept}"), &portal.token("alice")).await;
    assert_eq!(kept.text_at("/state"), "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_that_ends_leaves_the_keys_as_they_were() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    let person = portal.person("stranger");
    for (banned, decision) in [(true, "deny"), (false, "allow")] {
        portal.idp.add_person(portal_dev_idp::Person { banned, ..person.clone() });
        portal.idp.webhooks_settled().await;
        portal.wired.credentials.keys_of_deleted.end_heard().await.unwrap();
        portal.wired.credentials.keys_of_deleted.end_all().await.unwrap();
        assert_eq!(portal.verify(&gateway, &secret).await.json()["decision"], decision);
    }
}
