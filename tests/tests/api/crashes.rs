//! A server that is killed after the database committed, and before it learnt of that: nothing is lost, and nothing happens twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Portal, Process, serve_if_asked, within};
use portal_dev_idp::webhook_signature;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;

/// What the database says when it has committed.
const COMMITTED: &[u8] = b"COMMIT\0";

/// A way to the database that can lose what the database says about commits.
struct Way {
    url: String,
    loses_commits: Arc<AtomicBool>,
}

impl Way {
    async fn to(database: &str) -> Self {
        let (url, query) = database.split_once('?').unwrap_or((database, ""));
        let (authority, name) = url.trim_start_matches("postgresql://").split_once('/').unwrap();
        let of = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let socket =
            of("host").map(|folder| format!("{}/.s.PGSQL.{}", folder.replace("%2F", "/"), of("port").unwrap()));
        let (user, host) = authority.rsplit_once('@').unwrap_or((of("user").unwrap_or_default(), authority));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgresql://{user}@{}/{name}?sslmode=disable", listener.local_addr().unwrap());
        let (host, loses_commits) = (host.to_owned(), Arc::new(AtomicBool::new(false)));
        let losing = loses_commits.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let losing = losing.clone();
                if let Some(socket) = &socket {
                    let server = UnixStream::connect(socket).await.unwrap();
                    tokio::spawn(pass(client, server.into_split(), losing));
                } else {
                    let server = TcpStream::connect(&host).await.unwrap();
                    tokio::spawn(pass(client, server.into_split(), losing));
                }
            }
        });
        Self { url, loses_commits }
    }
}

/// Passes everything on, in both directions, until one of them ends.
async fn pass(
    client: TcpStream,
    (mut from_server, mut to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    losing: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_server.read(&mut buffer).await?;
            let said = &buffer[..length];
            if length == 0 {
                return Ok(());
            }
            if losing.load(Ordering::SeqCst) && said.windows(COMMITTED.len()).any(|words| words == COMMITTED) {
                // From here on this connection says nothing any more.
                std::future::pending::<()>().await;
            }
            to_client.write_all(said).await?;
        }
    };
    let _: std::io::Result<()> = tokio::select! { ended = there => ended, ended = back => ended };
}

/// Sends a request to a server of its own, whose commit takes effect while the server never hears of it, and kills the server then.
async fn kill_after_commit(
    portal: &Portal,
    (server, way): (Process, &Way),
    request: RequestBuilder,
    (committed, expected): (&str, i64),
) {
    way.loses_commits.store(true, Ordering::SeqCst);
    let answer = tokio::spawn(request.send());
    let is_committed = async || portal.database.count(committed).await.unwrap() == expected;
    within(Duration::from_secs(15), "a commit", is_committed).await;
    assert!(!answer.is_finished(), "the server does not know that it was committed");
    drop(server);
    assert!(answer.await.unwrap().is_err(), "nobody was told");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn counts(portal: &Portal, questions: &[&str]) -> Vec<i64> {
    let mut counts = Vec::new();
    for question in questions {
        counts.push(portal.database.count(question).await.unwrap());
    }
    counts
}

#[test]
fn a_delivery_whose_answer_was_lost_with_the_server_takes_effect_once() {
    serve_if_asked();
    runtime().block_on(Box::pin(delivery()));
}

async fn delivery() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("edith")).await;
    let acme = portal.acme().await;
    let path = format!("/v1/accounts/{acme}");
    assert_eq!(portal.get(&path, &portal.token("edith")).await.status, 200);
    let member = &portal.person("edith").memberships[0];
    let data = json!({
        "id": member.id, "organization": { "id": member.organization.id },
        "public_user_data": { "user_id": portal.person("edith").user_id },
    });
    let body = json!({ "object": "event", "type": "organizationMembership.deleted", "data": data }).to_string();
    let now = portal.now().unix_seconds();
    let signature = webhook_signature(portal.idp.instance().webhook_secret(), "msg_1", now, body.as_bytes()).unwrap();
    let request = |base: &str| {
        let request = Client::new().post(format!("{base}/webhooks/clerk")).body(body.clone());
        let request = request.header("svix-id", "msg_1").header("svix-timestamp", now.to_string());
        request.header("svix-signature", &signature)
    };
    let effects = [
        "SELECT count(*) FROM webhook_inbox",
        "SELECT count(*) FROM audit_events WHERE action = 'membership.removed'",
        "SELECT count(*) FROM memberships WHERE provider_membership_id IS NOT NULL",
    ];
    let members = counts(&portal, &effects).await[2];

    let way = Way::to(portal.database.url()).await;
    let test = "crashes::a_delivery_whose_answer_was_lost_with_the_server_takes_effect_once";
    let server = portal.process_on(test, &way.url);
    let first = request(&server.base);
    kill_after_commit(&portal, (server, &way), first, (effects[0], 1)).await;
    assert_eq!(counts(&portal, &effects).await, [1, 1, members - 1], "what was committed is there");

    for _ in 0..2 {
        let answer = portal.send(request(&portal.base)).await;
        assert_eq!((answer.status.as_u16(), answer.text_at("/status").as_str()), (200, "repeated"));
    }
    assert_eq!(counts(&portal, &effects).await, [1, 1, members - 1]);
    // Whoever remembers the membership hears of its end within a second; who begins now knows nothing else.
    portal.replica().get(&path, &portal.token("edith")).await.assert_problem(404, "not_found");
}

#[test]
fn a_first_sign_in_whose_answer_was_lost_with_the_server_made_one_person() {
    serve_if_asked();
    runtime().block_on(Box::pin(first_sign_in()));
}

async fn first_sign_in() {
    let portal = Portal::start().await;
    let way = Way::to(portal.database.url()).await;
    let test = "crashes::a_first_sign_in_whose_answer_was_lost_with_the_server_made_one_person";
    let server = portal.process_on(test, &way.url);
    let request = Client::new().get(format!("{}/v1/me", server.base)).bearer_auth(portal.token("stranger"));
    let effects = [
        "SELECT count(*) FROM users",
        "SELECT count(*) FROM accounts",
        "SELECT count(*) FROM memberships",
        "SELECT count(*) FROM audit_events WHERE action = 'user.provisioned'",
        "SELECT count(*) FROM audit_events",
    ];
    kill_after_commit(&portal, (server, &way), request, (effects[0], 1)).await;
    assert_eq!(counts(&portal, &effects).await, [1; 5], "what was committed is there");

    let me = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!((me.status.as_u16(), me.text_at("/user/clerk_id").as_str()), (200, "user_dev_stranger"), "{me:?}");
    assert_eq!(counts(&portal, &effects).await, [1, 1, 1, 1, 2], "and the sign-in that was answered");
}
