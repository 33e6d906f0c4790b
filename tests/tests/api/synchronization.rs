//! People and organizations arrive by three roads, which lose, repeat and mix up, and end as the provider has them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use e2e::{Portal, Replica, serve_if_asked, soon};
use portal_dev_idp::{Membership, Person, WebhookFaults};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_the_provider_is_known_to_every_server_within_a_second() {
    let portal = Portal::start().await;
    let other = portal.replica();
    portal.send_webhooks();
    let acme = portal.acme().await;
    let path = format!("/v1/accounts/{acme}");
    let (edith, adam) = (portal.token("edith"), portal.token("adam"));
    for server in [portal.get(&path, &edith).await, other.get(&path, &edith).await] {
        assert_eq!(server.text_at("/role"), "editor");
    }

    let mut person = portal.person("edith");
    person.memberships[0].role = "org:viewer".to_owned();
    portal.idp.add_person(person.clone());
    portal.idp.webhooks_settled().await;
    soon("a demotion", async || other.get(&path, &edith).await.text_at("/role") == "viewer").await;

    let mut organization = person.memberships[0].organization.clone();
    organization.name = "Acme Incorporated".to_owned();
    portal.idp.update_organization(&organization);
    portal.idp.webhooks_settled().await;
    soon("a new name", async || other.get(&path, &edith).await.text_at("/name") == "Acme Incorporated").await;

    let person = Person { memberships: Vec::new(), ..portal.person("edith") };
    portal.idp.add_person(person);
    portal.idp.webhooks_settled().await;
    soon("a removal", async || other.get(&path, &edith).await.status == 404).await;
    assert_eq!(portal.get(&path, &edith).await.status, 404);

    portal.idp.revoke_session(&portal.person("adam").session_id).unwrap();
    portal.idp.webhooks_settled().await;
    soon("a sign-out", async || other.get(&path, &adam).await.status == 401).await;
    other.get(&path, &adam).await.assert_problem(401, "session_ended");
    portal.get(&path, &adam).await.assert_problem(401, "session_ended");
    let status = other.get("/v1/auth/status", &adam).await;
    assert_eq!((status.text_at("/status"), status.text_at("/reason")), ("signed-out".into(), "session-ended".into()));

    portal.idp.remove_person(&portal.person("victor").user_id);
    let victor = portal.idp.mint().session_token(
        &portal_dev_idp::person("victor").unwrap(),
        "https://portal.example.test",
        portal.now(),
    );
    portal.idp.webhooks_settled().await;
    // Whoever asks between the commit and the change is told of the deletion by the database.
    soon("a deletion", async || other.get("/v1/me", &victor).await.json()["code"] == "session_ended").await;
    other.get("/v1/me", &victor).await.assert_problem(401, "session_ended");
    let status = other.get("/v1/auth/status", &victor).await;
    assert_eq!((status.text_at("/status"), status.text_at("/reason")), ("signed-out".into(), "session-ended".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_later_knows_the_sessions_that_ended() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let token = portal.token("alice");
    assert_eq!(portal.get("/v1/me", &token).await.status, 200);
    portal.idp.revoke_session(&portal.person("alice").session_id).unwrap();
    portal.idp.webhooks_settled().await;
    portal.replica().get("/v1/me", &token).await.assert_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_banned_at_the_provider_and_their_keys_count_for_nothing_meanwhile() {
    let portal = Portal::start().await;
    let other = portal.replica();
    portal.send_webhooks();
    let (token, account) = (portal.token("stranger"), portal.personal_account("stranger").await);
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("edge").await;
    assert_eq!(other.get("/v1/me", &token).await.status, 200);
    for banned in [true, false] {
        portal.idp.add_person(Person { banned, ..portal.person("stranger") });
        portal.idp.webhooks_settled().await;
        let (status, decision) = if banned { (403, "deny") } else { (200, "allow") };
        soon("a ban or its end here", async || portal.get("/v1/me", &token).await.status == status).await;
        soon("a ban or its end there", async || other.get("/v1/me", &token).await.status == status).await;
        let decided = async || portal.verify(&gateway, &secret).await.text_at("/decision") == decision;
        soon("what that means for keys", decided).await;
        if banned {
            portal.get("/v1/me", &token).await.assert_problem(403, "user_paused");
        }
    }
    let path = format!("/v1/accounts/{account}/audit-events");
    let events = portal.get(&path, &token).await.json();
    let actions = events["data"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned());
    assert_eq!(actions.filter(|action| action.starts_with("user.p") || action == "user.resumed").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_die_with_a_person_who_is_deleted_at_the_provider() {
    let portal = Portal::start().await;
    portal.send_webhooks();
    let account = portal.personal_account("stranger").await;
    let (_, secret) = portal.create_key("stranger", &account).await;
    let gateway = portal.gateway("gateway").await;
    assert_eq!(portal.verify(&gateway, &secret).await.text_at("/decision"), "allow");
    portal.idp.remove_person(&portal.person("stranger").user_id);
    portal.idp.webhooks_settled().await;
    let dead = async || portal.verify(&gateway, &secret).await.text_at("/decision") == "deny";
    soon("the end of the key", dead).await;
}

/// Numbers that repeat with their seed.
struct Chance(u64);

impl Chance {
    /// From 0 to less than `below`.
    fn draw(&mut self, below: u64) -> u64 {
        // Knuth's constants; the upper bits are the better ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[usize::try_from(self.draw(among.len() as u64)).unwrap()]
    }
}

const ROLES: [&str; 4] = ["org:admin", "org:editor", "org:viewer", "org:unheard_of"];

/// Something happens at the provider, or somebody signs in.
async fn step(portal: &Portal, chance: &mut Chance, number: u64) {
    let people = portal.idp.people();
    let person = chance.pick(&people).clone();
    match chance.draw(12) {
        0..=3 => portal.idp.add_person(Person { first_name: format!("Name {number}"), ..person }),
        4..=6 => {
            let mut person = person;
            let role = (*chance.pick(&ROLES)).to_owned();
            if let Some(membership) = person.memberships.first_mut() {
                membership.role = role;
            } else if let Some(organization) =
                people.iter().flat_map(|person| &person.memberships).map(|member| &member.organization).next()
            {
                person.memberships.push(Membership {
                    id: format!("orgmem_{number}"),
                    organization: organization.clone(),
                    role,
                    created_at: 0,
                    updated_at: 0,
                });
            }
            portal.idp.add_person(person);
        }
        7 => portal.idp.add_person(Person { memberships: Vec::new(), active_organization: None, ..person }),
        8 => {
            let organization = people.iter().flat_map(|person| &person.memberships).next();
            if let Some(Membership { organization, .. }) = organization {
                let mut organization = organization.clone();
                organization.name = format!("Organization {number}");
                portal.idp.update_organization(&organization);
            }
        }
        9 if people.len() > 3 => portal.idp.remove_person(&person.user_id),
        _ => {
            portal.get("/v1/me", &portal.token(&person.name)).await;
        }
    }
}

/// Name and organizations of everybody, as the provider has them.
fn at_the_provider(portal: &Portal) -> BTreeMap<String, (String, Vec<(String, String)>)> {
    let role = |member: &Membership, person: &Person| match member.role.as_str() {
        "org:admin" if member.organization.created_by == person.user_id => Some("owner"),
        "org:admin" => Some("admin"),
        "org:editor" => Some("editor"),
        "org:viewer" => Some("viewer"),
        _ => None,
    };
    let view = |person: Person| {
        let accounts = person
            .memberships
            .iter()
            .filter_map(|member| Some((member.organization.name.clone(), role(member, &person)?.to_owned())));
        (person.name.clone(), (person.first_name.clone(), accounts.collect()))
    };
    portal.idp.people().into_iter().map(view).collect()
}

/// The same as a server tells it.
async fn at_a_server(portal: &Portal, server: &Replica) -> BTreeMap<String, (String, Vec<(String, String)>)> {
    let mut seen = BTreeMap::new();
    for person in portal.idp.people() {
        let token = portal.token(&person.name);
        let me = server.get("/v1/me", &token).await;
        let accounts = server.get("/v1/me/accounts", &token).await.json();
        let organizations =
            accounts["data"].as_array().unwrap().iter().filter(|account| account["kind"] == "organization");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let organizations = organizations.map(|account| (text(&account["name"]), text(&account["role"]))).collect();
        seen.insert(person.name, (me.text_at("/user/first_name"), organizations));
    }
    seen
}

/// How many schedules run; the figure in `docs/testing.md` is of a longer run.
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says for how long")]
fn schedules() -> u64 {
    std::env::var("PORTAL_TEST_SCHEDULES").map_or(6, |text| text.parse().expect("a number of schedules"))
}

/// What receives the messages is a process of its own, which is killed over and over, whatever it is doing.
#[test]
fn any_schedule_of_losses_repeats_delays_and_kills_ends_as_the_provider_has_it() {
    serve_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run_schedules());
}

const RECEIVER: &str = "synchronization::any_schedule_of_losses_repeats_delays_and_kills_ends_as_the_provider_has_it";

async fn run_schedules() {
    let (mut lost, mut repeated, mut drifted, mut kills) = (0, 0, 0, 0);
    for seed in 0..schedules() {
        let portal = Portal::start().await;
        let mut chance = Chance(seed);
        portal.idp.set_webhook_pauses(&[Duration::from_millis(20), Duration::from_millis(50)]);
        portal.idp.set_webhook_faults(WebhookFaults {
            duplicate: 40,
            loss: 25,
            delay: Duration::from_millis(10),
            reorder: true,
            seed,
        });
        let mut receiver = portal.process(RECEIVER);
        portal.send_webhooks_to(&receiver.base);
        for number in 0..30 {
            step(&portal, &mut chance, number).await;
            if chance.draw(10) == 0 {
                drop(receiver);
                kills += 1;
                receiver = portal.process(RECEIVER);
                portal.send_webhooks_to(&receiver.base);
            }
        }
        portal.idp.webhooks_settled().await;
        portal.idp.stop_webhooks();
        let mut mended = portal.reconcile(&["--reason", "a test"]).await;
        // Where nobody is left whom a server heard of, an operator says how many may go.
        if let Some((_, most)) = mended.split_once("allow it: --max-removals ") {
            let most = most.lines().next().unwrap().to_owned();
            mended = portal.reconcile(&["--reason", "a test", "--max-removals", &most]).await;
        }
        drifted += u64::from(mended.contains("was not as the provider has it"));
        let counters = portal.idp.webhook_counters();
        (lost, repeated) = (lost + counters.lost, repeated + counters.duplicated);
        let again = portal.reconcile(&["--dry-run"]).await;
        assert!(again.contains("nothing would change"), "seed {seed}: {again}");
        let seen = at_a_server(&portal, &portal.replica()).await;
        assert_eq!(seen, at_the_provider(&portal), "seed {seed}");
        let kept = portal.webhooks(&["list"]).await.unwrap();
        assert_eq!(kept, "nothing is put aside\n", "seed {seed}");
    }
    let told =
        format!("{lost} messages lost, {repeated} repeated, {kills} kills, {drifted} schedules mended by the scan");
    assert!(lost > 0 && repeated > 0 && kills > 0 && drifted > 0, "{told}");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{told}").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_what_webhooks_lost_and_changes_nothing() {
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("alice")).await;
    portal.reconcile(&[]).await;
    let alice = Person { first_name: "Alicia".to_owned(), ..portal.person("alice") };
    portal.idp.add_person(alice.clone());
    let told = portal.reconcile(&["--dry-run"]).await;
    assert!(told.contains(&format!("{} was not as the provider has it", alice.user_id)), "{told}");
    assert!(told.contains("dry run: nothing was changed"), "{told}");
    assert_eq!(portal.get("/v1/me", &portal.token("alice")).await.text_at("/user/first_name"), "Alice");
    portal.reconcile(&[]).await;
    assert_eq!(portal.get("/v1/me", &portal.token("alice")).await.text_at("/user/first_name"), "Alicia");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_to_slow_down_is_waited_for() {
    let portal = Portal::start().await;
    portal.idp.set_rate_limit(Some(2));
    let told = portal.reconcile(&[]).await;
    assert!(told.contains("as the provider has it"), "{told}");
}

/// The value of a metric without labels.
fn metric(text: &str, name: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_begins_knows_the_last_message_and_the_last_complete_scan() {
    const MESSAGE: &str = "portal_webhook_last_accepted_timestamp_seconds";
    const SCAN: &str = "portal_reconcile_last_complete_timestamp_seconds";
    let portal = Portal::start().await;
    portal.get("/v1/me", &portal.token("alice")).await;
    portal.get("/v1/me", &portal.token("alice")).await;
    let begun = portal.now().unix_seconds();
    portal.send_webhooks();
    portal.idp.add_person(Person { first_name: "Alicia".to_owned(), ..portal.person("alice") });
    portal.idp.webhooks_settled().await;
    let told = portal.reconcile(&[]).await;
    let here = portal.wired.api.metrics.render();
    assert_eq!((metric(&here, "portal_sign_ins_total"), metric(&here, "portal_first_sign_ins_total")), (2, 1));
    let drift = metric(&here, "portal_reconcile_drift");
    assert!(drift > 0 && told.contains("was not as the provider has it"), "{drift} {told}");
    assert!(metric(&here, MESSAGE) >= begun && metric(&here, SCAN) >= begun, "{here}");
    let replica = portal.replica();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let there = replica.wired.api.metrics.render();
        if metric(&there, MESSAGE) > 0 && metric(&there, SCAN) > 0 {
            for name in [MESSAGE, SCAN, "portal_reconcile_drift"] {
                assert_eq!(metric(&there, name), metric(&here, name), "{name}");
            }
            assert_eq!(metric(&there, "portal_webhooks_accepted_total"), 0, "it took none in itself");
            break;
        }
        assert!(Instant::now() < deadline, "{there}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
