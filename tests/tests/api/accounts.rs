//! Accounts, as their members and strangers see them.

use std::time::{Duration, Instant};

use e2e::{Portal, serve_if_asked};
use futures_util::future::join_all;
use portal_dev_idp::Person;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_requests_to_two_servers_make_one_person_and_all_succeed() {
    serve_if_asked();
    let portal = Portal::start().await;
    let other = portal.process("accounts::a_thousand_first_requests_to_two_servers_make_one_person_and_all_succeed");
    let token = portal.token("stranger");
    let (here, there) = tokio::join!(
        join_all((0..500).map(|_| portal.get("/v1/me", &token))),
        join_all((0..500).map(|_| other.get("/v1/me", &token))),
    );
    let first = here[0].text_at("/user/id");
    for answer in here.iter().chain(&there) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text_at("/user/id"), first);
    }
    for table in ["users", "accounts", "memberships"] {
        let rows = portal.database.count(&format!("SELECT count(*) AS count FROM {table}")).await.unwrap();
        assert_eq!(rows, 1, "{table}");
    }
    let told = portal.database.texts("SELECT action AS text FROM audit_events ORDER BY seq").await.unwrap();
    assert_eq!(told, ["user.provisioned", "sign_in.succeeded"]);
    assert_eq!(portal.idp.user_requests(), 1, "the provider is asked once");
    assert_eq!(portal.idp.membership_requests(), 1, "and once for the organizations");
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
        serde_json::json!([
            "read-account",
            "read-members",
            "remove-member:own",
            "read-keys",
            "create-key",
            "update-key:own",
            "disable-key:own",
            "rotate-key:own",
            "revoke-key:own",
            "read-audit-trail:own"
        ])
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

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_costs_no_query() {
    let portal = Portal::start().await;
    let (acme, token) = (portal.acme().await, portal.token("adam"));
    let path = format!("/v1/accounts/{acme}");
    portal.hearing().await;
    portal.get(&path, &token).await;
    let before = portal.wired.store.checkouts();
    for _ in 0..10 {
        assert_eq!(portal.get(&path, &token).await.text_at("/role"), "admin");
    }
    assert_eq!(portal.wired.store.checkouts() - before, 10, "one query each, for the account itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_ends_has_ended_here_within_a_second() {
    let portal = Portal::start().await;
    let (acme, token) = (portal.acme().await, portal.token("adam"));
    let path = format!("/v1/accounts/{acme}");
    let adam = portal.get("/v1/me", &token).await.text_at("/user/id");
    portal.hearing().await;
    assert_eq!(portal.get(&path, &token).await.text_at("/role"), "admin");
    // The provider, which is asked about a membership that only a token knows, has ended it.
    portal.idp.add_person(Person { memberships: Vec::new(), ..portal.person("adam") });
    // What a replica writes, and nobody rings up.
    let of_adam = "WHERE user_id = (SELECT id FROM users WHERE provider_id = 'user_dev_adam') AND role = 'admin'";
    let change = format!("INSERT INTO changes (kind, subject) VALUES ('user', '{adam}')");
    for (statement, expected) in [
        (format!("UPDATE memberships SET role = 'viewer' {of_adam}; {change}"), Some("viewer")),
        (format!("DELETE FROM memberships {}; {change}", of_adam.replace("admin", "viewer")), None),
    ] {
        portal.database.execute(&statement).await.unwrap();
        let committed = Instant::now();
        let took = loop {
            let answer = portal.get(&path, &token).await;
            if answer.json()["role"].as_str() == expected {
                break committed.elapsed();
            }
            assert_eq!(answer.status, 200, "{answer:?}");
        };
        assert!(took < Duration::from_secs(1), "{expected:?} after {took:?}");
    }
    portal.get(&path, &token).await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_somebody_who_was_deleted_is_401() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("edith")).await;
    let buried = "INSERT INTO buried_provider_ids (id, at) VALUES ('user_dev_stranger', now())";
    let deleted = "UPDATE users SET state = 'deleted' WHERE provider_id = 'user_dev_edith'; \
         INSERT INTO changes (kind, subject) VALUES ('later', 'anybody')";
    portal.database.execute(&format!("{buried}; {deleted}")).await.unwrap();
    let never_here = portal.get("/v1/me", &portal.token("stranger")).await;
    never_here.assert_problem(401, "user_deleted");
    let deadline = Instant::now() + Duration::from_secs(30);
    while portal.get("/v1/me", &portal.token("edith")).await.status == 200 {
        assert!(Instant::now() < deadline, "a change was not heard of");
    }
    portal.get("/v1/me", &portal.token("edith")).await.assert_problem(401, "user_deleted");
    let made = portal.database.count("SELECT count(*) AS count FROM users").await.unwrap();
    assert_eq!(made, 1, "nobody is provisioned for a deleted id");
}
