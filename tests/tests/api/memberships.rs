//! Memberships that a token tells of before anything else does.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Portal, PortalBuilder, soon};
use portal_dev_idp::{Organization, Person};
use portal_testkit::FixedClock;

/// Lets a sample person join an organization at the provider. No webhook tells of it.
fn join(portal: &Portal, name: &str, organization: Organization, role: &str) {
    portal.idp.add_person(portal.person(name).member_of(organization, role));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_sees_the_account_with_the_first_token_that_names_it() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    portal.get("/v1/me", &portal.token("stranger")).await;
    join(&portal, "stranger", Organization::acme(), "org:viewer");
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.text_at("/active_account/id"), acme);
    assert_eq!(portal.get(&format!("/v1/accounts/{acme}"), &portal.token("stranger")).await.text_at("/role"), "viewer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_was_just_founded_is_there_with_the_first_token_that_names_it() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("stranger")).await;
    join(&portal, "stranger", Organization::new("Beta", "user_dev_stranger"), "org:admin");
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    let beta = me.text_at("/active_account/id");
    let account = portal.get(&format!("/v1/accounts/{beta}"), &portal.token("stranger")).await;
    assert_eq!((account.text_at("/name"), account.text_at("/role")), ("Beta".to_owned(), "owner".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_no_webhook_told_of_counts_with_the_first_token_that_has_it() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let path = format!("/v1/accounts/{acme}");
    join(&portal, "victor", Organization::acme(), "org:admin");
    assert_eq!(portal.get(&path, &portal.token("victor")).await.text_at("/role"), "admin");
    let asked = portal.idp.membership_requests();
    for _ in 0..3 {
        portal.get(&path, &portal.token("victor")).await;
    }
    assert_eq!(portal.idp.membership_requests(), asked, "what is stored asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_a_new_member_gets_in_for_a_minute() {
    let clock = Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    let other = portal.replica();
    let acme = portal.acme().await;
    let path = format!("/v1/accounts/{acme}");
    for server in
        [portal.get("/v1/me", &portal.token("stranger")).await, other.get("/v1/me", &portal.token("edith")).await]
    {
        assert_eq!(server.status, 200);
    }
    join(&portal, "stranger", Organization::acme(), "org:admin");
    portal.idp.set_outage(true);
    for later in [0, 30, 29] {
        clock.advance(Duration::from_secs(later));
        assert_eq!(portal.get(&path, &portal.token("stranger")).await.text_at("/role"), "admin");
        assert_eq!(other.get(&path, &portal.token("stranger")).await.text_at("/role"), "admin");
    }
    for later in [1, 30] {
        clock.advance(Duration::from_secs(later));
        portal.get(&path, &portal.token("stranger")).await.assert_problem(404, "not_found");
        other.get(&path, &portal.token("stranger")).await.assert_problem(404, "not_found");
        let me = portal.get("/v1/me", &portal.token("stranger")).await;
        assert_eq!(me.text_at("/active_account/kind"), "personal");
    }
    portal.idp.set_outage(false);
    clock.advance(Duration::from_mins(1));
    assert_eq!(other.get(&path, &portal.token("stranger")).await.text_at("/role"), "admin", "confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_an_organization_that_nobody_knows_gives_nothing() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("stranger")).await;
    join(&portal, "stranger", Organization::new("Beta", "user_dev_stranger"), "org:admin");
    portal.idp.set_outage(true);
    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(me.text_at("/active_account/kind"), "personal");
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM accounts").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t28_whoever_was_removed_gets_in_with_no_token_from_before() {
    let portal = Portal::start().await;
    let other = portal.replica();
    portal.send_webhooks();
    let acme = portal.acme().await;
    let path = format!("/v1/accounts/{acme}");
    let token = portal.token("victor");
    assert_eq!(other.get(&path, &token).await.text_at("/role"), "viewer");
    portal.idp.add_person(Person { memberships: Vec::new(), ..portal.person("victor") });
    portal.idp.webhooks_settled().await;
    portal.get(&path, &token).await.assert_problem(404, "not_found");
    portal.idp.set_outage(true);
    soon("a removal is heard of", async || other.get(&path, &token).await.status != 200).await;
    other.get(&path, &token).await.assert_problem(404, "not_found");
    portal.get(&path, &token).await.assert_problem(404, "not_found");
}
