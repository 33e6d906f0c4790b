//! An endpoint for webhooks that keeps what it gets and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use portal_dev_idp::DevIdp;
use serde_json::Value;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

#[derive(Default)]
struct Inbox {
    deliveries: Vec<Delivery>,
    /// Statuses of the next answers; then 200.
    answers: VecDeque<u16>,
    abort: bool,
}

pub(crate) struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    pub(crate) url: String,
    server: ServerHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

impl Receiver {
    /// An endpoint that the provider sends to.
    pub(crate) fn of(idp: &DevIdp) -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let data = web::Data::from(Arc::clone(&inbox));
        let server =
            HttpServer::new(move || App::new().app_data(data.clone()).route("/hooks", web::post().to(receive)))
                .workers(1)
                .disable_signals()
                .bind("127.0.0.1:0")
                .expect("a free port");
        let url = format!("http://{}/hooks", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        idp.send_webhooks_to(&url).expect("an address of this machine");
        Self { inbox, url, server: handle }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no panic before")
    }

    /// The statuses of the next answers.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.lock().answers.extend(statuses);
    }

    /// Asks for no further attempts with every refusal.
    pub(crate) fn abort(&self) {
        self.lock().abort = true;
    }

    /// What arrived since the last call, once nothing is on its way any more.
    pub(crate) async fn deliveries(&self, idp: &DevIdp) -> Vec<Delivery> {
        idp.webhooks_settled().await;
        std::mem::take(&mut self.lock().deliveries)
    }

    /// What arrived since the last call, as soon as it is that much.
    pub(crate) async fn first(&self, count: usize) -> Vec<Delivery> {
        for _ in 0..2_000 {
            if self.lock().deliveries.len() >= count {
                return std::mem::take(&mut self.lock().deliveries);
            }
            actix_web::rt::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("fewer than {count} deliveries arrived");
    }

    /// Type and data of the events that arrived since the last call.
    pub(crate) async fn events(&self, idp: &DevIdp) -> Vec<(String, Value)> {
        let told = |delivery: &Delivery| {
            let mut event = delivery.event();
            (event["type"].as_str().expect("a type").to_owned(), event["data"].take())
        };
        self.deliveries(idp).await.iter().map(told).collect()
    }

    /// The types alone.
    pub(crate) async fn kinds(&self, idp: &DevIdp) -> Vec<String> {
        self.events(idp).await.into_iter().map(|(kind, _)| kind).collect()
    }
}

async fn receive(request: HttpRequest, inbox: web::Data<Mutex<Inbox>>, body: web::Bytes) -> HttpResponse {
    let header = |name: &str| {
        let mut lines = request.headers().get_all(name);
        let value = lines.next().expect(name).to_str().expect("text").to_owned();
        assert!(lines.next().is_none(), "{name} twice");
        value
    };
    let mut inbox = inbox.lock().expect("no panic before");
    inbox.deliveries.push(Delivery {
        id: header("svix-id"),
        timestamp: header("svix-timestamp"),
        signature: header("svix-signature"),
        content_type: header("content-type"),
        body: body.to_vec(),
    });
    let status = inbox.answers.pop_front().unwrap_or(200);
    let mut answer = HttpResponse::build(status.try_into().expect("a status"));
    if status == 302 {
        answer.insert_header(("location", "/hooks"));
    }
    if status >= 400 && inbox.abort {
        answer.insert_header(("webhook-delivery", "abort-message"));
    }
    answer.finish()
}
