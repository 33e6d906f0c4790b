//! A running program, with its provider and its database.

use std::collections::BTreeMap;
use std::sync::Arc;

use portal_app::account::run_account;
use portal_app::audit::{Told, run_audit};
use portal_app::operator::{run_reconcile, run_sessions, run_webhooks};
use portal_app::serve::Stopper;
use portal_app::wire::{Surroundings, Wired, global_sign_out, parked_webhooks};
use portal_dev_idp::{DevIdp, Membership, Person, TokenSpec, listen};
use portal_dev_postgres::testing::admin_url;
use portal_kernel::Timestamp;
use portal_postgres::testing::TestDatabase;
use portal_testkit::FixedClock;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::replica::{Process, Replica, hearing, serve};
use crate::response::Answer;
use crate::{SIGNING_KEY, checkout};

/// Origin that tokens are minted for.
const ORIGIN: &str = "https://portal.example.test";

/// Requests per minute: tests ask as fast as they can, all from one address, and some by a clock that stands still.
const UNREACHABLE: &str = "1000000";

/// A running program. It ends with the value.
pub struct Portal {
    /// `http://127.0.0.1:PORT`
    pub base: String,
    /// The provider.
    pub idp: DevIdp,
    /// The database.
    pub database: TestDatabase,
    /// The parts, for their counters.
    pub wired: Wired,
    surroundings: Surroundings,
    variables: BTreeMap<String, String>,
    client: Client,
    server: Stopper,
    provider: JoinHandle<()>,
}

/// Settings of a program to start.
#[derive(Default)]
pub struct PortalBuilder {
    variables: BTreeMap<String, String>,
    surroundings: Surroundings,
    server: Option<String>,
}

impl PortalBuilder {
    /// Lets the database be on that server, given by a URL, in place of the one that all tests share.
    #[must_use]
    pub fn on_server(mut self, url: String) -> Self {
        self.server = Some(url);
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Lets the program and its provider live by a clock that the test moves, in place of the system's.
    #[must_use]
    pub fn clock(mut self, clock: &Arc<FixedClock>) -> Self {
        self.surroundings.clock = Arc::clone(clock) as _;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If anything it needs does not start.
    pub async fn start(self) -> Portal {
        let idp = DevIdp::new(SIGNING_KEY.clone(), Arc::clone(&self.surroundings.clock));
        let (provider, server) = listen(&idp).expect("the provider listens");
        let provider_task = tokio::spawn(async {
            let _ = server.await;
        });
        let shared = || admin_url(&checkout()).unwrap_or_else(|error| panic!("{error}"));
        let admin = self.server.unwrap_or_else(shared);
        let database = TestDatabase::create(&admin).await.expect("a database of its own");
        let defaults = [
            ("PORTAL_PUBLIC_URL", ORIGIN.to_owned()),
            ("PORTAL_HTTP__BIND", "127.0.0.1:0".to_owned()),
            ("PORTAL_HTTP__WORKERS", "1".to_owned()),
            ("PORTAL_KEYS__PEPPERS__1", "cGVwcGVyIG9mIHRoZSBibGFjay1ib3ggdGVzdHMgMzIgYnl0ZXM=".to_owned()),
            ("PORTAL_AUDIT__SIGNING_KEY", "c2lnbmluZyBrZXkgb2YgYmxhY2stYm94IHRlc3RzIDM=".to_owned()),
            ("DATABASE_URL", database.url().to_owned()),
            ("PORTAL_CANARY__ENABLED", "false".to_owned()),
            ("PORTAL_LIMITS__USER_READS_PER_MINUTE", UNREACHABLE.to_owned()),
            ("PORTAL_LIMITS__USER_WRITES_PER_MINUTE", UNREACHABLE.to_owned()),
            ("PORTAL_LIMITS__USER_PROVIDER_CALLS_PER_MINUTE", UNREACHABLE.to_owned()),
            ("PORTAL_LIMITS__ADDRESS_READS_PER_MINUTE", UNREACHABLE.to_owned()),
            ("PORTAL_LIMITS__ADDRESS_WRITES_PER_MINUTE", UNREACHABLE.to_owned()),
            ("CLERK_PUBLISHABLE_KEY", idp.instance().publishable_key().to_owned()),
            ("CLERK_SECRET_KEY", idp.instance().secret_key().to_owned()),
            ("CLERK_WEBHOOK_SIGNING_SECRET", idp.instance().webhook_secret().to_owned()),
            ("CLERK_API_URL", format!("http://{provider}/__clerk")),
        ];
        let mut variables: BTreeMap<_, _> =
            defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        variables.extend(self.variables);
        let (base, wired, server) = serve(&variables, &self.surroundings);
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Portal {
            base,
            idp,
            database,
            wired,
            surroundings: self.surroundings,
            variables,
            client,
            server,
            provider: provider_task,
        }
    }
}

/// The arguments of an operator who says why.
fn reasoned<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let reason: &[&str] = if arguments.contains(&"--reason") { &[] } else { &["--reason", "a test"] };
    [arguments, reason].concat()
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.server.stop();
        self.provider.abort();
    }
}

impl Portal {
    /// Starts another server of the same installation.
    pub fn replica(&self) -> Replica {
        self.replica_with(&[])
    }

    /// As [`Portal::replica`], with further settings.
    pub fn replica_with(&self, settings: &[(&str, &str)]) -> Replica {
        let mut variables = self.variables.clone();
        variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (base, wired, server) = serve(&variables, &self.surroundings);
        Replica { base, wired, client: self.client.clone(), server }
    }

    /// Starts another server of the same installation in a process of its own. `test` is the full name of the calling test, which must
    /// begin with [`crate::serve_if_asked`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn process(&self, test: &str) -> Process {
        self.process_with(test, &[])
    }

    /// As [`Portal::process`], with a server that reaches the database by another address.
    ///
    /// # Panics
    /// If it does not start.
    pub fn process_on(&self, test: &str, database: &str) -> Process {
        self.process_with(test, &[("DATABASE_URL", database)])
    }

    /// As [`Portal::process`], with further settings.
    ///
    /// # Panics
    /// If it does not start.
    pub fn process_with(&self, test: &str, settings: &[(&str, &str)]) -> Process {
        let mut variables = self.variables.clone();
        variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Process::start(test, &variables, self.client.clone())
    }

    /// With default settings.
    pub async fn start() -> Self {
        PortalBuilder::default().start().await
    }

    /// A fresh token of a sample person.
    ///
    /// # Panics
    /// If there is no such person.
    pub fn token(&self, name: &str) -> String {
        self.idp.fresh_session_token(&self.person(name), ORIGIN)
    }

    /// A token to be spoilt.
    pub fn token_spec(&self, name: &str) -> TokenSpec {
        self.idp.mint().session(&self.person(name), ORIGIN, self.surroundings.clock.now())
    }

    /// The time that the program lives by.
    pub fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    /// A sample person.
    ///
    /// # Panics
    /// If there is no such person.
    pub fn person(&self, name: &str) -> Person {
        self.idp.person(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A request to a path, not yet sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// The answer to `GET` of a target that no client library would send.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn raw(&self, target: &str) -> String {
        self.raw_request("GET", target, &[]).await
    }

    /// The answer to a request that no client library would send. Header values are bytes.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn raw_request(&self, method: &str, target: &str, headers: &[(&str, &[u8])]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n").into_bytes();
        if method != "GET" {
            request.extend_from_slice(b"Content-Length: 0\r\n");
        }
        for (name, value) in headers {
            request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `GET` with a bearer token.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// `POST` of JSON with a bearer token.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).bearer_auth(token).json(body)).await
    }

    /// Id of a person's personal account.
    pub async fn personal_account(&self, name: &str) -> String {
        self.get("/v1/me/accounts", &self.token(name)).await.text_at("/data/0/id")
    }

    /// Id of the organization Acme, in which alice is owner, adam admin, edith editor and victor viewer. All of them have signed in.
    pub async fn acme(&self) -> String {
        for name in ["adam", "edith", "victor"] {
            self.get("/v1/me", &self.token(name)).await;
        }
        self.get("/v1/me/accounts", &self.token("alice")).await.text_at("/data/1/id")
    }

    /// Adds a person to Acme, who signs in; answers their id here.
    ///
    /// # Panics
    /// If Acme has no members.
    pub async fn add_member(&self, name: &str, role: &str) -> String {
        let acme = self.person("alice").memberships[0].organization.clone();
        let (id, role, now) = (format!("orgmem_dev_{name}"), role.to_owned(), self.now().unix_millis());
        let membership = Membership { id, organization: acme, role, created_at: now, updated_at: now };
        self.idp.add_person(Person { memberships: vec![membership], ..Person::new(name) });
        self.get("/v1/me", &self.token(name)).await.text_at("/user/id")
    }

    /// `PATCH` of JSON with a bearer token.
    pub async fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).bearer_auth(token).json(body)).await
    }

    /// `DELETE` with a bearer token.
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).bearer_auth(token)).await
    }

    /// Makes a key and returns its id and secret.
    pub async fn create_key(&self, name: &str, account: &str) -> (String, String) {
        let path = format!("/v1/accounts/{account}/api-keys");
        let created = self.post(&path, &self.token(name), &serde_json::json!({ "name": "test" })).await;
        (created.text_at("/api_key/id"), created.text_at("/secret"))
    }

    /// Runs `portal service-token …`, with a reason unless there is one, and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub async fn service_token(&self, arguments: &[&str]) -> String {
        let is_list = arguments == ["list"];
        let arguments = if is_list { arguments.to_vec() } else { reasoned(arguments) };
        let printed =
            portal_app::service_token::run_service_token(&arguments, &self.wired.credentials.service_tokens).await;
        printed.unwrap_or_else(|error| panic!("{error}")).text.trim().to_owned()
    }

    /// Runs `portal audit …`.
    ///
    /// # Panics
    /// If it fails for another reason than a finding.
    pub async fn audit(&self, arguments: &[&str]) -> Told {
        run_audit(arguments, &self.wired.audit_tools).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A token of a gateway.
    pub async fn gateway(&self, name: &str) -> String {
        self.service_token(&["create", "--name", name, "--scope", "keys:verify"]).await
    }

    /// Lets the provider send what happens to this program, which must be the only one.
    ///
    /// # Panics
    /// If it cannot.
    pub fn send_webhooks(&self) {
        self.send_webhooks_to(&self.base);
    }

    /// Lets the provider send what happens to one server of the installation.
    ///
    /// # Panics
    /// If it cannot.
    pub fn send_webhooks_to(&self, base: &str) {
        self.idp.send_webhooks_to(&format!("{base}/webhooks/clerk")).expect("the provider sends");
    }

    /// Runs `portal sessions …` and returns what it prints.
    pub async fn sessions(&self, arguments: &[&str]) -> Result<String, String> {
        let sign_out = global_sign_out(self.wired.store.clone(), self.wired.facts.clone());
        run_sessions(arguments, &sign_out).await.map_err(|error| error.to_string())
    }

    /// Runs `portal webhooks …` and returns what it prints.
    pub async fn webhooks(&self, arguments: &[&str]) -> Result<String, String> {
        let webhooks = parked_webhooks(self.wired.store.clone(), self.wired.facts.clone());
        run_webhooks(arguments, &webhooks).await.map_err(|error| error.to_string())
    }

    /// Runs `portal reconcile …`, with a reason unless there is one, and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub async fn reconcile(&self, arguments: &[&str]) -> String {
        let printed = run_reconcile(&reasoned(arguments), &self.wired.reconciler).await;
        printed.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs `portal account …` and returns what it prints.
    pub async fn account(&self, arguments: &[&str]) -> Result<String, String> {
        run_account(arguments, &self.wired.organizations).await.map_err(|error| error.to_string())
    }

    /// Waits until the program hears of changes: before that it asks the database about everybody.
    ///
    /// # Panics
    /// If it never does.
    pub async fn hearing(&self) {
        hearing(&self.wired).await;
    }

    /// Asks about a key.
    pub async fn verify(&self, gateway: &str, key: &str) -> Answer {
        self.post("/v1/keys/verify", gateway, &serde_json::json!({ "key": key })).await
    }
}
