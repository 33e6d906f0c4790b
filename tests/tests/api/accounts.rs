//! Accounts, as their members and strangers see them.

use e2e::Portal;
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_requests_make_one_person_and_all_succeed() {
    let portal = Portal::start().await;
    let token = portal.token("stranger");
    let answers = join_all((0..50).map(|_| portal.get("/v1/me", &token))).await;
    let first = answers[0].text_at("/user/id");
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text_at("/user/id"), first);
    }
    for table in ["users", "accounts", "memberships", "audit_events"] {
        let rows = portal.database.count(&format!("SELECT count(*) AS count FROM {table}")).await.unwrap();
        assert_eq!(rows, 1, "{table}");
    }
    assert_eq!(portal.idp.user_requests(), 1, "the provider is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_has_the_roles_of_its_people() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    for (name, role) in [("alice", "owner"), ("adam", "admin"), ("edith", "editor"), ("victor", "viewer")] {
        let account = portal.get(&format!("/v1/accounts/{acme}"), &portal.token(name)).await;
        assert_eq!(account.text_at("/role"), role, "{name}");
        assert_eq!(account.text_at("/kind"), "organization");
        assert_eq!(account.text_at("/clerk_organization_id"), "org_dev_acme");
    }
    let me = portal.get("/v1/me", &portal.token("edith")).await;
    assert_eq!(me.text_at("/active_account/id"), acme);
    assert_eq!(
        me.json()["permissions"],
        serde_json::json!(["read-account", "read-keys", "create-key", "revoke-key:own"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_lower_role_counts_at_once_and_a_higher_one_never() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let with = |name: &str, role: &str| {
        portal.idp.mint().encode(&portal.token_spec(name).organization("org_dev_acme", "acme", role))
    };
    for (name, role, expected) in
        [("alice", "viewer", "viewer"), ("victor", "admin", "viewer"), ("alice", "admin", "owner")]
    {
        let account = portal.get(&format!("/v1/accounts/{acme}"), &with(name, role)).await;
        assert_eq!(account.text_at("/role"), expected, "{name} as {role}");
    }
    let unmapped = portal.get(&format!("/v1/accounts/{acme}"), &with("adam", "unheard_of")).await;
    unmapped.assert_problem(404, "not_found");
}
