//! What one server ends, every other one ends within a second, whatever becomes of the line to its change feed.

use std::io::Write;
use std::time::{Duration, Instant};

use e2e::{Answer, FeedLine, Line, Portal, Process, serve_if_asked};
use portal_dev_idp::{Membership, Person};
use serde_json::json;

/// Counts for nothing any more after this, from the answer of the server that ended it on.
const BOUND: Duration = Duration::from_secs(1);

/// Two servers: one in this process, one in its own, whose feed has a line that can be spoilt.
struct Installation {
    portal: Portal,
    other: Process,
    line: FeedLine,
    acme: String,
}

impl Installation {
    async fn start(test: &str) -> Self {
        let portal = Portal::start().await;
        portal.send_webhooks();
        let line = FeedLine::to(portal.database.url()).await;
        let settings = [("PORTAL_DATABASE__DIRECT_URL", line.url()), ("PORTAL_METRICS__OPEN", "true".to_owned())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let other = portal.process_with(test, &settings);
        let acme = portal.acme().await;
        Self { portal, other, line, acme }
    }

    /// A new editor of Acme, whom both servers know.
    async fn editor(&self, name: &str) -> Editor {
        let user = self.portal.add_member(name, "org:editor").await;
        self.portal.idp.webhooks_settled().await;
        let editor = Editor { name: name.to_owned(), user, token: self.portal.token(name) };
        let deadline = Instant::now() + BOUND;
        loop {
            let seen = self.seen(&editor).await;
            if seen.status == 200 && seen.text_at("/role") == "editor" {
                return editor;
            }
            assert!(Instant::now() < deadline, "a new member is seen: {seen:?}");
        }
    }

    async fn seen(&self, editor: &Editor) -> Answer {
        self.other.get(&format!("/v1/accounts/{}", self.acme), &editor.token).await
    }

    /// How long the other server goes on, after the answer to what ended it.
    async fn goes_on(&self, editor: &Editor, is_over: impl Fn(&Answer) -> bool) -> Duration {
        let since = Instant::now();
        loop {
            let asked = since.elapsed();
            if is_over(&self.seen(editor).await) {
                return asked;
            }
            assert!(asked < BOUND, "{} goes on for {asked:?}", editor.name);
        }
    }

    /// Connections that the other server took from its pool: none more means that no query ran.
    async fn checkouts(&self) -> u64 {
        let metrics = self.other.get("/metrics", "").await.text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("portal_database_checkouts_total "));
        line.unwrap().parse().unwrap()
    }
}

struct Editor {
    name: String,
    user: String,
    token: String,
}

/// Each way to lose what one has: here, and at the provider.
async fn lose_everything(servers: &Installation, line: Line, word: &str) {
    let Installation { portal, acme, .. } = servers;
    let adam = portal.token("adam");
    let mut longest = Duration::ZERO;
    for way in ["demotion", "removal", "deletion", "sign_out", "demotion_at_provider", "removal_at_provider"] {
        servers.line.set(Line::Sound);
        let editor = servers.editor(&format!("{word}_{way}")).await;
        let member = format!("/v1/accounts/{acme}/members/{}", editor.user);
        let person = portal.person(&editor.name);
        servers.line.set(line);
        let gone: fn(&Answer) -> bool = match way {
            "demotion" => {
                let changed = portal.patch(&member, &adam, &json!({ "role": "viewer" })).await;
                assert_eq!(changed.status, 200, "{changed:?}");
                |answer| answer.text_at("/role") == "viewer"
            }
            "removal" => {
                assert_eq!(portal.delete(&member, &adam).await.status, 204);
                |answer| answer.status == 404
            }
            "sign_out" => {
                assert_eq!(portal.post("/v1/auth/sign-out", &editor.token, &json!({})).await.status, 200);
                |answer| answer.status == 401
            }
            "deletion" => {
                portal.idp.remove_person(&person.user_id);
                portal.idp.webhooks_settled().await;
                |answer| answer.status == 401
            }
            "demotion_at_provider" => {
                let viewer = Membership { role: "org:viewer".to_owned(), ..person.memberships[0].clone() };
                portal.idp.add_person(Person { memberships: vec![viewer], ..person });
                portal.idp.webhooks_settled().await;
                |answer| answer.text_at("/role") == "viewer"
            }
            _ => {
                portal.idp.add_person(Person { memberships: Vec::new(), ..person });
                portal.idp.webhooks_settled().await;
                |answer| answer.status == 404
            }
        };
        longest = longest.max(servers.goes_on(&editor, gone).await);
    }
    // For whoever wants to see figures: `cargo test -p e2e --test api replicas -- --nocapture`.
    let _ = writeln!(std::io::stderr(), "{line:?}: the other server went on for {longest:?} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn t28_what_ends_here_ends_on_the_other_server_within_a_second() {
    serve_if_asked();
    let servers = Installation::start("replicas::t28_what_ends_here_ends_on_the_other_server_within_a_second").await;
    lose_everything(&servers, Line::Sound, "sound").await;
    lose_everything(&servers, Line::WithoutDoorbell, "deaf").await;
    lose_everything(&servers, Line::Stalled, "stalled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_somebody_holds_open_hides_nothing() {
    serve_if_asked();
    let servers = Installation::start("replicas::a_transaction_that_somebody_holds_open_hides_nothing").await;
    let mut held = servers.portal.database.session().await.unwrap();
    held.execute("BEGIN; INSERT INTO changes (kind, subject) VALUES ('session', 'held')").await.unwrap();
    lose_everything(&servers, Line::Sound, "held").await;
    lose_everything(&servers, Line::WithoutDoorbell, "held_deaf").await;
    held.execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_read_costs_the_other_server_no_query_beyond_its_own() {
    serve_if_asked();
    let test = "replicas::an_ordinary_read_costs_the_other_server_no_query_beyond_its_own";
    let servers = Installation::start(test).await;
    let editor = servers.editor("reader").await;
    let mut cheapest = u64::MAX;
    for _ in 0..5 {
        let before = servers.checkouts().await;
        for _ in 0..20 {
            assert_eq!(servers.seen(&editor).await.status, 200);
        }
        // Jobs of the server take connections, too, now and then.
        cheapest = cheapest.min(servers.checkouts().await - before);
    }
    assert_eq!(cheapest, 20, "the account itself is read, and nothing for who is asking");
}
