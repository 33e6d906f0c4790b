//! Further servers of an installation, in the process of the test and in processes of their own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portal_app::serve::{Stopper, bind};
use portal_app::settings::{Environment, Settings};
use portal_app::wire::{Surroundings, Wired, wire};
use portal_kernel::ChangeFeed;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::response::Answer;
use crate::within;

pub(crate) fn serve(variables: &BTreeMap<String, String>, surroundings: &Surroundings) -> (String, Wired, Stopper) {
    let environment = Environment(variables.clone());
    let settings = Settings::load(None, &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (http, metrics) = (settings.http.clone(), settings.metrics.clone());
    let wired = wire(settings, surroundings).expect("the parts fit together");
    let bound = bind(&wired, &http, &metrics, None).expect("a free port");
    let base = format!("http://{}", bound.address);
    let server = bound.stopper();
    // Ends when the server was stopped.
    tokio::spawn(async {
        let _ = bound.run().await;
    });
    (base, wired, server)
}

/// Another server of the same installation: the same settings, database and provider, and nothing else in common.
pub struct Replica {
    /// `http://127.0.0.1:PORT`
    pub base: String,
    /// The parts, for their counters.
    pub wired: Wired,
    pub(crate) client: Client,
    pub(crate) server: Stopper,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.stop();
    }
}

pub(crate) async fn hearing(wired: &Wired) {
    within(Duration::from_secs(30), "the change feed", async || wired.feed.is_current()).await;
}

/// Settings of a server in a process of its own, as the process that starts it hands them down.
const SERVER: &str = "E2E_SERVER_VARIABLES";

/// What such a process says when it listens.
const LISTENING: &str = "listening on ";

/// Another server of the same installation, in a process of its own, which is killed with the value.
pub struct Process {
    /// `http://127.0.0.1:PORT`
    pub base: String,
    client: Client,
    child: Child,
}

impl Process {
    pub(crate) fn start(test: &str, variables: &BTreeMap<String, String>, client: Client) -> Self {
        let variables = serde_json::to_string(variables).expect("texts");
        let mut command = Command::new(std::env::current_exe().expect("the test binary"));
        command.args([test, "--exact", "--nocapture"]).env(SERVER, variables);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut said = lines.map_while(Result::ok);
        let base = said.find_map(|line| line.split_once(LISTENING).map(|(_, base)| base.to_owned()));
        Self { base: base.expect("it listens"), client, child }
    }

    /// `GET` with a bearer token.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(token);
        Answer::read(request.send().await.expect("an answer")).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a process that [`crate::Portal::process`] started: serves until it is killed. Otherwise returns at once.
///
/// # Panics
/// If the server does not start.
pub fn serve_if_asked() {
    let Some(variables) = std::env::var_os(SERVER) else { return };
    let variables = serde_json::from_slice(variables.as_encoded_bytes()).expect("variables as JSON");
    // The caller may be on a runtime of its own.
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (base, _wired, _server) = serve(&variables, &Surroundings::default());
            writeln!(std::io::stdout(), "{LISTENING}{base}").expect("somebody reads");
            std::future::pending::<()>().await;
        });
    });
    serving.join().expect("it serves until it is killed");
}

impl Replica {
    /// As [`crate::Portal::hearing`].
    ///
    /// # Panics
    /// If it never does.
    pub async fn hearing(&self) {
        hearing(&self.wired).await;
    }

    /// A request to a path, not yet sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// `GET` with a bearer token.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(token);
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// `POST` of JSON with a bearer token.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(token).json(body);
        Answer::read(request.send().await.expect("an answer")).await
    }
}
