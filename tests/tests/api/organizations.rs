//! Organizations, as their members change them: at the provider first, and here at once.

use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder, soon};
use portal_testkit::FixedClock;
use serde_json::{Value, json};

struct Acme {
    portal: Portal,
    id: String,
    nina: String,
}

impl Acme {
    async fn start() -> Self {
        let portal = Portal::start().await;
        let id = portal.acme().await;
        let nina = portal.add_member("nina", "org:viewer").await;
        Self { portal, id, nina }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/accounts/{}{rest}", self.id)
    }

    async fn user(&self, name: &str) -> String {
        self.portal.get("/v1/me", &self.portal.token(name)).await.text_at("/user/id")
    }

    async fn member(&self, name: &str) -> String {
        self.path(&format!("/members/{}", self.user(name).await))
    }

    async fn get(&self, rest: &str, who: &str) -> Answer {
        self.portal.get(&self.path(rest), &self.portal.token(who)).await
    }

    async fn invite(&self, who: &str, email: &str, role: &str) -> Answer {
        let body = json!({ "email": email, "role": role });
        self.portal.post(&self.path("/invitations"), &self.portal.token(who), &body).await
    }

    async fn revoke(&self, who: &str, invitation: &str) -> Answer {
        let path = self.path(&format!("/invitations/{invitation}/revoke"));
        self.portal.post(&path, &self.portal.token(who), &json!({})).await
    }

    /// Action and outcome of what was recorded last, newest first.
    async fn trail(&self, action: &str) -> Vec<(String, String)> {
        let events = self.get(&format!("/audit-events?limit=100&action={action}"), "alice").await.json();
        let texts = |event: &Value| {
            (event["actor"]["kind"].as_str().unwrap().to_owned(), event["outcome"].as_str().unwrap().to_owned())
        };
        events["data"].as_array().unwrap().iter().map(texts).collect()
    }
}

fn once() -> Vec<(String, String)> {
    vec![("user".to_owned(), "succeeded".to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_in_pages_with_their_roles() {
    let acme = Acme::start().await;
    let mut found = Vec::new();
    let mut path = "/members?limit=2".to_owned();
    loop {
        let page = acme.get(&path, "victor").await.json();
        found.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/members?limit=2&cursor={cursor}");
    }
    let mut roles: Vec<_> = found.iter().map(|member| member["role"].as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["admin", "editor", "owner", "viewer", "viewer"]);
    let nina = found.iter().find(|member| member["user_id"] == acme.nina.as_str()).unwrap();
    assert_eq!((&nina["email"], &nina["clerk_role"]), (&json!("nina@example.test"), &json!("org:viewer")));
    let alone = acme.get(&format!("/members/{}", acme.nina), "victor").await.json();
    assert_eq!(alone, *nina);
    acme.get("/members", "stranger").await.assert_problem(404, "not_found");
    acme.get("/members/usr_01jdzqzr4ne5z8p5t2z6fj7x3b", "victor").await.assert_problem(404, "not_found");
    let personal = acme.portal.personal_account("alice").await;
    let own = acme.portal.get(&format!("/v1/accounts/{personal}/members"), &acme.portal.token("alice")).await.json();
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_changes_at_the_provider_and_on_every_server() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let other = portal.replica();
    let edith = portal.token("edith");
    assert_eq!(other.get(&acme.path(""), &edith).await.text_at("/role"), "editor");
    let path = acme.member("edith").await;
    for _ in 0..2 {
        let changed = portal.patch(&path, &portal.token("adam"), &json!({ "role": "viewer" })).await;
        assert_eq!((changed.status.as_u16(), changed.text_at("/role")), (200, "viewer".to_owned()));
    }
    assert_eq!(portal.get(&acme.path(""), &edith).await.text_at("/role"), "viewer", "here at once");
    soon("a demotion", async || other.get(&acme.path(""), &edith).await.text_at("/role") == "viewer").await;
    assert_eq!(portal.person("edith").memberships[0].role, "org:viewer", "at the provider");
    assert_eq!(acme.trail("membership.changed").await, once(), "one record, of whoever did it");
    for role in ["owner", "org:admin", "boss", ""] {
        let refused = portal.patch(&path, &portal.token("alice"), &json!({ "role": role })).await;
        refused.assert_problem(422, "invalid_body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_or_removes_whoever_is_not_below_them() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    for (who, whom, role) in [
        ("adam", "alice", "viewer"),
        ("adam", "adam", "viewer"),
        ("adam", "nina", "admin"),
        ("edith", "nina", "editor"),
        ("alice", "alice", "admin"),
    ] {
        let refused = portal.patch(&acme.member(whom).await, &portal.token(who), &json!({ "role": role })).await;
        refused.assert_problem(403, "forbidden");
    }
    for (who, whom) in [("adam", "alice"), ("edith", "nina"), ("victor", "edith")] {
        let refused = portal.delete(&acme.member(whom).await, &portal.token(who)).await;
        refused.assert_problem(403, "forbidden");
    }
    portal.delete(&acme.member("alice").await, &portal.token("alice")).await.assert_problem(409, "last_owner");
    let taken = json!({ "user_id": acme.user("adam").await });
    let path = acme.path("/transfer-ownership");
    portal.post(&path, &portal.token("adam"), &taken).await.assert_problem(403, "forbidden");
    portal.delete(&acme.path(""), &portal.token("adam")).await.assert_problem(403, "forbidden");
    for name in ["alice", "adam", "edith", "nina"] {
        assert_eq!(portal.person(name).memberships.len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_removed_or_leaves_sees_the_account_nowhere_within_a_second() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let other = portal.replica();
    let (nina, victor) = (portal.token("nina"), portal.token("victor"));
    assert_eq!(other.get(&acme.path(""), &nina).await.status, 200);
    let (of_nina, of_victor) = (acme.member("nina").await, acme.member("victor").await);
    assert_eq!(portal.delete(&of_nina, &portal.token("adam")).await.status, 204);
    portal.get(&acme.path(""), &nina).await.assert_problem(404, "not_found");
    soon("a removal", async || other.get(&acme.path(""), &nina).await.status == 404).await;
    assert_eq!(portal.delete(&of_victor, &victor).await.status, 204, "everybody may leave");
    portal.get(&acme.path(""), &victor).await.assert_problem(404, "not_found");
    portal.delete(&of_nina, &portal.token("adam")).await.assert_problem(404, "not_found");
    assert!(portal.person("nina").memberships.is_empty() && portal.person("victor").memberships.is_empty());
    assert_eq!(acme.trail("membership.removed").await, [once(), once()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_given_away_with_a_fresh_proof_and_the_old_owner_stays_an_admin() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let (path, body) = (acme.path("/transfer-ownership"), json!({ "user_id": acme.user("edith").await }));
    let stale = portal.idp.mint().encode(&portal.token_spec("alice").claim("fva", json!([11, -1])));
    let asked = portal.post(&path, &stale, &body).await;
    asked.assert_problem(403, "reverification_required");
    let expected =
        json!({ "type": "forbidden", "reason": "reverification-error", "metadata": { "reverification": "strict" } });
    assert_eq!(asked.json()["clerk_error"], expected);
    let given = portal.post(&path, &portal.token("alice"), &body).await;
    assert_eq!((given.status.as_u16(), given.text_at("/role")), (200, "owner".to_owned()), "{given:?}");
    portal.post(&path, &stale, &body).await.assert_problem(403, "forbidden");
    for (name, role) in [("alice", "admin"), ("edith", "owner"), ("adam", "admin")] {
        let with = portal.idp.mint().encode(&portal.token_spec(name));
        assert_eq!(portal.get(&acme.path(""), &with).await.text_at("/role"), role, "{name}");
    }
    assert_eq!(portal.person("edith").memberships[0].role, "org:admin", "an owner is an administrator there");
    portal.delete(&acme.path(""), &portal.token("alice")).await.assert_problem(403, "forbidden");
    portal.reconcile(&["--reason", "test"]).await;
    let token = portal.token("edith");
    assert_eq!(portal.get(&acme.path(""), &token).await.text_at("/role"), "owner", "a scan changes no owner");
    portal
        .post(&path, &token, &json!({ "user_id": "usr_01jdzqzr4ne5z8p5t2z6fj7x3b" }))
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn t29_nothing_that_is_remembered_stands_in_for_a_fresh_proof() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let with = |first: i64, second: i64| {
        portal.idp.mint().encode(&portal.token_spec("alice").claim("fva", json!([first, second])))
    };
    let nobody = json!({ "user_id": "usr_01jdzqzr4ne5z8p5t2z6fj7x3b" });
    let path = acme.path("/transfer-ownership");
    for (token, is_fresh) in [
        (with(0, -1), true),
        (with(9, -1), true),
        (with(10, -1), false),
        (with(0, 10), false),
        (with(700, 9), true),
        (with(-1, -1), false),
        (portal.idp.mint().encode(&portal.token_spec("alice").without_claim("fva")), false),
    ] {
        // Each token is seen before, by a read that needs no proof, and between two that are fresh.
        assert_eq!(portal.get(&acme.path(""), &token).await.status, 200);
        assert_eq!(portal.get(&acme.path(""), &with(0, 0)).await.status, 200);
        let (status, code) = if is_fresh { (404, "not_found") } else { (403, "reverification_required") };
        portal.post(&path, &token, &nobody).await.assert_problem(status, code);
    }
    let without = PortalBuilder::default().set("PORTAL_ACCOUNTS__REVERIFICATION", "false").start().await;
    let path = format!("/v1/accounts/{}/transfer-ownership", without.acme().await);
    let old = without.idp.mint().encode(&without.token_spec("alice").claim("fva", json!([700, -1])));
    without.post(&path, &old, &nobody).await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transfers_at_once_leave_one_owner() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let other = portal.replica();
    let (path, alice) = (acme.path("/transfer-ownership"), portal.token("alice"));
    let (adam, edith) = (json!({ "user_id": acme.user("adam").await }), json!({ "user_id": acme.user("edith").await }));
    let (one, another) = tokio::join!(portal.post(&path, &alice, &adam), other.post(&path, &alice, &edith));
    let won = [&one, &another].into_iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1, "{one:?} {another:?}");
    let members = acme.get("/members", "victor").await.json();
    let owners = members["data"].as_array().unwrap().iter().filter(|member| member["role"] == "owner").count();
    assert_eq!(owners, 1, "{members}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_owner_is_repaired_by_an_operator_and_by_nobody_else() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    portal.send_webhooks();
    let adam = acme.user("adam").await;
    let arguments = ["set-owner", &acme.id, &adam, "--reason", "alice left the company"];
    assert_eq!(portal.account(&arguments).await, Err("the account has an owner".to_owned()));
    let mut alice = portal.person("alice");
    alice.memberships[0].role = "org:member".to_owned();
    portal.idp.add_person(alice);
    portal.idp.webhooks_settled().await;
    let role = async |name: &str| acme.get("", name).await.text_at("/role");
    assert_eq!((role("alice").await, role("adam").await), ("editor".to_owned(), "admin".to_owned()));
    portal.delete(&acme.path(""), &portal.token("adam")).await.assert_problem(403, "forbidden");
    assert!(portal.account(&["set-owner", &acme.id, &adam]).await.is_err(), "a reason is needed");
    assert_eq!(portal.account(&arguments).await, Ok(format!("{adam} owns {}\n", acme.id)));
    assert_eq!(role("adam").await, "owner");
    let events =
        portal.get(&acme.path("/audit-events?action=account.ownership_transferred"), &portal.token("adam")).await;
    assert_eq!(events.text_at("/data/0/reason"), "alice left the company");
    assert_eq!(events.text_at("/data/0/actor/id"), "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_renamed_and_deleted_with_its_keys() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let other = portal.replica();
    let (_, secret) = portal.create_key("adam", &acme.id).await;
    let gateway = portal.gateway("edge").await;
    let renamed = portal.patch(&acme.path(""), &portal.token("adam"), &json!({ "name": " Acme & Söhne " })).await;
    assert_eq!(renamed.text_at("/name"), "Acme & Söhne");
    assert_eq!(portal.person("victor").memberships[0].organization.name, "Acme & Söhne");
    for name in ["", "  ", "a\u{202e}b"] {
        let refused = portal.patch(&acme.path(""), &portal.token("adam"), &json!({ "name": name })).await;
        refused.assert_problem(422, "invalid_name");
    }
    assert_eq!(portal.verify(&gateway, &secret).await.text_at("/code"), "valid");
    assert_eq!(portal.delete(&acme.path(""), &portal.token("alice")).await.status, 204);
    let alice = portal.token("alice");
    portal.get(&acme.path(""), &alice).await.assert_problem(404, "not_found");
    soon("a deletion", async || other.get(&acme.path(""), &alice).await.status == 404).await;
    assert_eq!(portal.verify(&gateway, &secret).await.text_at("/decision"), "deny");
    assert!(portal.person("victor").memberships.is_empty(), "at the provider");
    portal.delete(&acme.path(""), &alice).await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_account_has_a_name_of_its_own_and_nothing_to_manage() {
    let portal = Portal::start().await;
    let token = portal.token("stranger");
    let path = format!("/v1/accounts/{}", portal.personal_account("stranger").await);
    let renamed = portal.patch(&path, &token, &json!({ "name": "Mine" })).await;
    assert_eq!(renamed.text_at("/name"), "Mine");
    assert_eq!(portal.get("/v1/me", &token).await.text_at("/active_account/name"), "Mine");
    portal.delete(&path, &token).await.assert_problem(409, "personal_account");
    let me = portal.get("/v1/me", &token).await.text_at("/user/id");
    portal.delete(&format!("{path}/members/{me}"), &token).await.assert_problem(409, "last_owner");
    let invitation = json!({ "email": "new@example.test", "role": "viewer" });
    portal.post(&format!("{path}/invitations"), &token, &invitation).await.assert_problem(409, "personal_account");
    portal.get(&format!("{path}/invitations"), &token).await.assert_problem(409, "personal_account");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_invited_and_becomes_a_member_of_that_role() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let invited = acme.invite("adam", "stranger@example.test", "viewer").await;
    assert_eq!((invited.status.as_u16(), invited.text_at("/status")), (201, "pending".to_owned()));
    let id = invited.text_at("/id");
    assert_eq!(invited.text_at("/invited_by"), portal.person("adam").user_id);
    acme.invite("adam", "stranger@example.test", "viewer").await.assert_problem(409, "already_invited");
    acme.invite("adam", "edith@example.test", "viewer").await.assert_problem(409, "already_member");
    acme.invite("adam", "other@example.test", "admin").await.assert_problem(403, "forbidden");
    acme.invite("edith", "other@example.test", "viewer").await.assert_problem(403, "forbidden");
    acme.invite("adam", "no address", "viewer").await.assert_problem(422, "invalid_email");
    acme.invite("alice", "other@example.test", "owner").await.assert_problem(422, "invalid_body");
    let listed = acme.get("/invitations", "adam").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["id"], id);
    acme.get("/invitations", "edith").await.assert_problem(403, "forbidden");

    portal.send_webhooks();
    portal.idp.accept_invitation(&id, &portal.person("stranger").user_id).unwrap();
    portal.idp.webhooks_settled().await;
    assert_eq!(acme.get("", "stranger").await.text_at("/role"), "viewer");
    assert_eq!(acme.get("/invitations", "adam").await.json()["data"], json!([]));
    acme.revoke("adam", &id).await.assert_problem(409, "invitation_not_pending");
    assert_eq!(acme.trail("invitation.created").await[2], once()[0], "refusals are told, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn t27_an_invitation_is_of_its_organization_and_its_end_is_decided_at_use() {
    let clock = std::sync::Arc::new(FixedClock::default());
    let portal = PortalBuilder::default().clock(&clock).start().await;
    let id = portal.acme().await;
    let acme = Acme { nina: String::new(), id, portal };
    let invitation = acme.invite("adam", "stranger@example.test", "viewer").await.text_at("/id");
    // Another organization, whose owner is somebody else.
    let mut stranger = acme.portal.person("stranger");
    let mut theirs = acme.portal.person("alice").memberships[0].clone();
    "org_dev_theirs".clone_into(&mut theirs.organization.id);
    "theirs".clone_into(&mut theirs.organization.slug);
    theirs.organization.created_by.clone_from(&stranger.user_id);
    "orgmem_dev_theirs".clone_into(&mut theirs.id);
    stranger.memberships.push(theirs);
    acme.portal.idp.add_person(stranger);
    let accounts = acme.portal.get("/v1/me/accounts", &acme.portal.token("stranger")).await;
    let other = accounts.text_at("/data/1/id");
    let token = acme.portal.token("stranger");
    for (account, id) in
        [(&other, invitation.as_str()), (&other, "orginv_nobodys"), (&other, "../../x"), (&acme.id, &invitation)]
    {
        let path = format!("/v1/accounts/{account}/invitations/{}/revoke", id.replace('/', "%2F"));
        acme.portal.post(&path, &token, &json!({})).await.assert_problem(404, "not_found");
    }
    clock.advance(Duration::from_hours(24 * 30));
    assert_eq!(acme.get("/invitations", "adam").await.json()["data"], json!([]), "too late");
    acme.revoke("adam", &invitation).await.assert_problem(409, "invitation_not_pending");
    let stranger = acme.portal.person("stranger").user_id;
    assert!(acme.portal.idp.accept_invitation(&invitation, &stranger).is_err());
    let again = acme.invite("adam", "stranger@example.test", "viewer").await.text_at("/id");
    for _ in 0..2 {
        assert_eq!(acme.revoke("adam", &again).await.text_at("/status"), "revoked");
    }
    assert!(acme.portal.idp.accept_invitation(&again, &stranger).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_the_link_of_an_invitation_opens_nothing_here_and_is_used_once() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    portal.send_webhooks();
    let invited = acme.invite("adam", "stranger@example.test", "admin").await;
    invited.assert_problem(403, "forbidden");
    let invited = acme.invite("alice", "stranger@example.test", "admin").await;
    let id = invited.text_at("/id");
    let listed = acme.get("/invitations", "adam").await;
    for told in [&invited.text, &listed.text] {
        assert!(!told.contains("ticket") && !told.contains("url"), "the link goes to the address only: {told}");
    }
    let stranger = portal.token("stranger");
    for path in ["", "/members", "/invitations", "/api-keys"] {
        portal.get(&acme.path(path), &id).await.assert_problem(401, "unauthenticated");
        let with_ticket = acme.path(&format!("{path}?__clerk_ticket={id}&__clerk_status=complete"));
        let answer = portal.get(&with_ticket, &stranger).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{answer:?}");
    }
    assert!(portal.person("stranger").memberships.is_empty());
    let user = portal.person("stranger").user_id;
    portal.idp.accept_invitation(&id, &user).unwrap();
    portal.idp.webhooks_settled().await;
    assert_eq!(acme.get("", "stranger").await.text_at("/role"), "admin");
    // The place that it gave is gone: the link does not give it again.
    let place = acme.member("stranger").await;
    assert_eq!(portal.delete(&place, &portal.token("alice")).await.status, 204);
    assert!(portal.idp.accept_invitation(&id, &user).is_err());
    acme.get("", "stranger").await.assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_nothing_changes_and_the_trail_says_that_nobody_knows() {
    let acme = Acme::start().await;
    let portal = &acme.portal;
    let (edith, adam) = (acme.member("edith").await, portal.token("adam"));
    portal.idp.set_outage(true);
    portal.patch(&edith, &adam, &json!({ "role": "viewer" })).await.assert_problem(503, "identity_unavailable");
    portal.delete(&edith, &adam).await.assert_problem(503, "identity_unavailable");
    acme.invite("adam", "new@example.test", "viewer").await.assert_problem(503, "identity_unavailable");
    portal.patch(&acme.path(""), &adam, &json!({ "name": "New" })).await.assert_problem(503, "identity_unavailable");
    portal.delete(&acme.path(""), &portal.token("alice")).await.assert_problem(503, "identity_unavailable");
    portal.idp.set_outage(false);
    assert_eq!(acme.get("", "edith").await.text_at("/role"), "editor");
    for action in
        ["membership.changed", "membership.removed", "invitation.created", "account.updated", "account.deleted"]
    {
        assert_eq!(acme.trail(action).await, [("user".to_owned(), "pending".to_owned())], "{action}");
    }
    assert_eq!(portal.patch(&edith, &adam, &json!({ "role": "viewer" })).await.status, 200, "repeating is safe");
}

#[tokio::test(flavor = "multi_thread")]
async fn role_keys_mean_what_the_settings_say() {
    let portal =
        PortalBuilder::default().set("PORTAL_ACCOUNTS__ROLES", "org:admin=admin,org:member=viewer").start().await;
    let id = portal.acme().await;
    let acme = Acme { nina: String::new(), id, portal };
    assert_eq!(acme.get("", "alice").await.text_at("/role"), "owner");
    acme.get("", "edith").await.assert_problem(404, "not_found");
    let members = acme.get("/members", "adam").await.json();
    let of = |name: &str| {
        let id = acme.portal.person(name).user_id;
        members["data"].as_array().unwrap().iter().find(|member| member["clerk_user_id"] == id).unwrap().clone()
    };
    assert_eq!((&of("edith")["role"], &of("edith")["clerk_role"]), (&Value::Null, &json!("org:editor")));
    acme.invite("adam", "new@example.test", "editor").await.assert_problem(409, "role_not_available");
    let path = acme.path(&format!("/members/{}", of("edith")["user_id"].as_str().unwrap()));
    let changed = acme.portal.patch(&path, &acme.portal.token("adam"), &json!({ "role": "viewer" })).await;
    assert_eq!((changed.text_at("/role"), changed.text_at("/clerk_role")), ("viewer".into(), "org:member".into()));
}
