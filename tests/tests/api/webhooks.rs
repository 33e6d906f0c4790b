//! What the provider sends on its own: who is believed, and that each message takes effect once.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{Answer, Portal, PortalBuilder};
use futures_util::future::join_all;
use portal_dev_idp::webhook_signature;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn now(portal: &Portal) -> i64 {
    portal.now().unix_seconds()
}

/// A delivery, to be bent.
#[derive(Clone)]
struct Delivery {
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

impl Delivery {
    fn signed(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Self {
        let signature = webhook_signature(secret, id, timestamp, body).unwrap();
        Self { id: id.to_owned(), timestamp: timestamp.to_string(), signature, body: body.to_vec() }
    }

    async fn send(&self, portal: &Portal) -> Answer {
        let request = portal
            .request(Method::POST, "/webhooks/clerk")
            .header("svix-id", &self.id)
            .header("svix-timestamp", &self.timestamp)
            .header("svix-signature", &self.signature)
            .body(self.body.clone());
        portal.send(request).await
    }
}

fn event(kind: &str, data: &Value) -> Vec<u8> {
    json!({ "object": "event", "type": kind, "data": data }).to_string().into_bytes()
}

fn renamed(portal: &Portal, name: &str, first_name: &str, updated_at: i64) -> Vec<u8> {
    let id = portal.person(name).user_id;
    event("user.updated", &json!({ "id": id, "first_name": first_name, "updated_at": updated_at }))
}

async fn first_name(portal: &Portal, name: &str) -> Value {
    portal.get("/v1/me", &portal.token(name)).await.json()["user"]["first_name"].clone()
}

const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiB0aGUgZW5kcG9pbnQ=";
const OLD: &str = "whsec_b2xkIHNlY3JldCBvZiB0aGUgZW5kcG9pbnQ=";

#[tokio::test(flavor = "multi_thread")]
async fn t15_only_what_the_provider_signed_a_moment_ago_is_believed() {
    let portal = PortalBuilder::default().set("CLERK_WEBHOOK_SIGNING_SECRET", format!("{NEW},{OLD}")).start().await;
    first_name(&portal, "alice").await;
    let body = renamed(&portal, "alice", "Forged", 4_000_000_000_000);
    let good = Delivery::signed(NEW, "msg_1", now(&portal), &body);
    let signature = good.signature.trim_start_matches("v1,").to_owned();
    let bent = |change: &dyn Fn(&mut Delivery)| {
        let mut delivery = good.clone();
        change(&mut delivery);
        delivery
    };
    for (what, delivery) in [
        ("another id", bent(&|it| it.id = "msg_2".to_owned())),
        ("a second later", bent(&|it| it.timestamp = (now(&portal) + 1).to_string())),
        ("a byte more", bent(&|it| it.body.push(b' '))),
        ("a byte less", bent(&|it| it.body.truncate(it.body.len() - 1))),
        ("no signature", bent(&|it| it.signature = String::new())),
        ("no version", bent(&|it| it.signature.clone_from(&signature))),
        ("another version", bent(&|it| it.signature = format!("v1a,{signature}"))),
        ("too short", bent(&|it| it.signature.truncate(it.signature.len() - 1))),
        ("too long", bent(&|it| it.signature.push('A'))),
        ("several wrong ones", bent(&|it| it.signature = format!("v1,AAAA v2,{signature} v1,"))),
        ("another secret", Delivery::signed("whsec_c3RyYW5nZXI=", "msg_1", now(&portal), &body)),
        ("six minutes old", Delivery::signed(NEW, "msg_1", now(&portal) - 360, &body)),
        ("six minutes early", Delivery::signed(NEW, "msg_1", now(&portal) + 360, &body)),
    ] {
        let answer = delivery.send(&portal).await;
        answer.assert_problem(400, "invalid_webhook");
        assert_eq!(answer.json().get("detail"), None, "{what}: whoever forges learns nothing");
        assert_eq!(first_name(&portal, "alice").await, "Alice", "{what}");
    }
    for (id, secret) in [("msg_old", OLD), ("msg_new", NEW)] {
        let name = format!("By {id}");
        let body = renamed(&portal, "alice", &name, 4_000_000_000_000 + i64::from(secret == NEW));
        let mut delivery = Delivery::signed(secret, id, now(&portal), &body);
        delivery.signature = format!("v1,AAAA v1a,xyz {}", delivery.signature);
        let answer = delivery.send(&portal).await;
        assert_eq!((answer.status.as_u16(), answer.text_at("/status").as_str()), (200, "applied"), "{answer:?}");
        assert_eq!(first_name(&portal, "alice").await, name, "one of several signatures, by either secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_takes_effect_once_however_often_it_comes() {
    let portal = Portal::start().await;
    first_name(&portal, "alice").await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let delivery = |body: &[u8]| Delivery::signed(&secret, "msg_1", now(&portal), body);
    let first = renamed(&portal, "alice", "Alicia", 4_000_000_000_000);
    let answers = join_all((0..20).map(|_| {
        let delivery = delivery(&first);
        let portal = &portal;
        async move { delivery.send(portal).await.text_at("/status") }
    }))
    .await;
    let applied = answers.iter().filter(|status| *status == "applied").count();
    assert_eq!(applied, 1, "{answers:?}");
    assert!(answers.iter().all(|status| ["applied", "repeated"].contains(&status.as_str())), "{answers:?}");
    // The id decides, not what comes with it.
    let other = renamed(&portal, "alice", "Again", 4_000_000_000_001);
    assert_eq!(delivery(&other).send(&portal).await.text_at("/status"), "repeated");
    assert_eq!(first_name(&portal, "alice").await, "Alicia");
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_messages_at_once_end_in_the_newest_state_and_one_that_cannot_be_stored_harms_no_other() {
    const PEOPLE: usize = 30;
    const VERSIONS: usize = 8;
    let portal = Portal::start().await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let message = |person: usize, version: usize| {
        let data =
            json!({ "id": format!("user_many_{person}"), "first_name": format!("v{version}"), "updated_at": version });
        Delivery::signed(&secret, &format!("msg_{person}_{version}"), now(&portal), &event("user.updated", &data))
    };
    portal.database.execute("ALTER TABLE users ADD CONSTRAINT broken CHECK (first_name <> 'v9')").await.unwrap();
    let broken = [message(PEOPLE, 9), message(0, 9)];
    let nth = |n: usize| message(n % PEOPLE, (n / PEOPLE + n % PEOPLE * 3) % VERSIONS + 1);
    let mut deliveries: Vec<_> = (0..PEOPLE * VERSIONS).map(nth).collect();
    deliveries.insert(VERSIONS, broken[0].clone());
    deliveries.insert(PEOPLE, broken[1].clone());
    // Each comes twice at the same time.
    let sent: Vec<_> = deliveries.iter().flat_map(|delivery| [delivery, delivery]).collect();
    let answers = join_all(sent.iter().map(|delivery| delivery.send(&portal))).await;
    let mut outcomes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (delivery, answer) in sent.iter().zip(answers) {
        let outcome = if answer.status == 200 { answer.text_at("/status") } else { answer.status.as_str().to_owned() };
        outcomes.entry(&delivery.id).or_default().push(outcome);
    }
    for (id, mut outcomes) in outcomes {
        outcomes.sort();
        let expected = if id.ends_with("_9") { ["503", "503"] } else { ["applied", "repeated"] };
        assert_eq!(outcomes, expected, "{id}");
    }
    let count = async |sql: &str| usize::try_from(portal.database.count(sql).await.unwrap()).unwrap();
    assert_eq!(count("SELECT count(*) AS count FROM users WHERE first_name = 'v8'").await, PEOPLE);
    assert_eq!(count("SELECT count(*) AS count FROM users").await, PEOPLE);
    assert_eq!(count("SELECT count(*) AS count FROM audit_events WHERE action = 'user.provisioned'").await, PEOPLE);
    portal.database.execute("ALTER TABLE users DROP CONSTRAINT broken").await.unwrap();
    for delivery in broken {
        assert_eq!(delivery.send(&portal).await.text_at("/status"), "applied", "the next attempt");
    }
    assert_eq!(count("SELECT count(*) AS count FROM users WHERE first_name = 'v9'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_acknowledged_and_what_cannot_be_read_is_put_aside() {
    let portal = Portal::start().await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let send = async |id: &str, body: Vec<u8>| {
        let answer = Delivery::signed(&secret, id, now(&portal), &body).send(&portal).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text_at("/status")
    };
    assert_eq!(send("msg_mail", event("email.created", &json!({}))).await, "ignored");
    assert_eq!(send("msg_galaxy", event("galaxy.exploded", &Value::Null)).await, "ignored");
    assert_eq!(send("msg_bad", event("user.updated", &json!({ "id": "user_1" }))).await, "parked");
    assert_eq!(send("msg_bad", event("user.updated", &json!({ "id": "user_1" }))).await, "repeated");
    assert_eq!(send("msg_noise", b"\xff\xfe".to_vec()).await, "parked");
    // The line goes on.
    first_name(&portal, "alice").await;
    assert_eq!(send("msg_good", renamed(&portal, "alice", "Alicia", 4_000_000_000_000)).await, "applied");
    assert_eq!(first_name(&portal, "alice").await, "Alicia");

    let listed = portal.webhooks(&["list"]).await.unwrap();
    assert!(listed.contains("msg_bad") && listed.contains("a user without the time of the last change"), "{listed}");
    assert!(listed.contains("msg_noise") && listed.contains("the body is no event"), "{listed}");
    assert!(!listed.contains("user_1"), "what was sent is not shown: {listed}");
    let again = portal.webhooks(&["replay", "msg_bad", "--reason", "mended"]).await.unwrap_err();
    assert!(again.contains("parked again"), "{again}");
    let unknown = portal.webhooks(&["replay", "msg_good", "--reason", "mended"]).await.unwrap_err();
    assert!(unknown.contains("no message of this id is parked"), "{unknown}");

    let metrics = portal.wired.api.metrics.render();
    for line in ["portal_webhooks_accepted_total 6", "portal_webhooks_parked_total 2"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let last = metrics.lines().find_map(|line| line.strip_prefix("portal_webhook_last_accepted_timestamp_seconds "));
    assert!(now(&portal) - last.unwrap().parse::<i64>().unwrap() < 60, "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bounded_and_without_a_secret_everything_waits() {
    let portal = Portal::start().await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let large = event("email.created", &json!({ "body": "x".repeat(1024 * 1024) }));
    Delivery::signed(&secret, "msg_1", now(&portal), &large).send(&portal).await.assert_problem(413, "body_too_large");
    let most = event("email.created", &json!({ "body": "x".repeat(1000 * 1024) }));
    assert_eq!(Delivery::signed(&secret, "msg_2", now(&portal), &most).send(&portal).await.status, 200);

    let unset = PortalBuilder::default().set("CLERK_WEBHOOK_SIGNING_SECRET", "").start().await;
    let delivery = Delivery::signed(&secret, "msg_1", now(&portal), &most);
    delivery.send(&unset).await.assert_problem(503, "webhooks_not_configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_503_and_the_next_attempt_arrives() {
    let portal = Portal::start().await;
    first_name(&portal, "alice").await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let delivery =
        Delivery::signed(&secret, "msg_1", now(&portal), &renamed(&portal, "alice", "Alicia", 4_000_000_000_000));
    portal.database.refuse_connections(true).await.unwrap();
    delivery.send(&portal).await.assert_problem(503, "unavailable");
    portal.database.refuse_connections(false).await.unwrap();
    assert_eq!(delivery.send(&portal).await.text_at("/status"), "applied");
    assert_eq!(first_name(&portal, "alice").await, "Alicia");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_cannot_be_the_providers_is_refused_before_its_body_comes() {
    let portal = Portal::start().await;
    let now = now(&portal);
    let too_old = format!("svix-id: msg_1\r\nsvix-timestamp: {}\r\nsvix-signature: v1,c2VjcmV0\r\n", now - 600);
    for headers in
        ["", "svix-id: msg_1\r\n", &too_old, "svix-id: msg_1\r\nsvix-timestamp: soon\r\nsvix-signature: v1,x\r\n"]
    {
        let head = format!("POST /webhooks/clerk HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 1000000\r\n\r\n");
        let mut stream = TcpStream::connect(portal.base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = [0; 24];
        // The body never comes, and nobody waits the seconds that a body may take.
        tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut line)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&line), "HTTP/1.1 400 Bad Request", "{headers}");
    }
    let metrics = portal.wired.api.metrics.render();
    assert!(metrics.contains("portal_webhooks_refused_total 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_ended_is_told_by_its_id_alone() {
    let portal = Portal::start().await;
    let acme = portal.acme().await;
    let secret = portal.idp.instance().webhook_secret().to_owned();
    let path = format!("/v1/accounts/{acme}");
    assert_eq!(portal.get(&path, &portal.token("edith")).await.status, 200);
    let id = portal.person("edith").memberships[0].id.clone();
    let body = event(
        "organizationMembership.deleted",
        &json!({ "id": id, "object": "organization_membership", "deleted": true }),
    );
    let answer = Delivery::signed(&secret, "msg_1", now(&portal), &body).send(&portal).await;
    assert_eq!(answer.text_at("/status"), "applied");
    portal.get(&path, &portal.token("edith")).await.assert_problem(404, "not_found");
    assert_eq!(portal.get(&path, &portal.token("adam")).await.status, 200);
}
