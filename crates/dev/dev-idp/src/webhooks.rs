//! Webhooks as Clerk sends them through Svix: at least once, signed, and on demand out of order, twice, late or never.

mod chance;
mod delivery;
mod signature;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portal_kernel::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use url::{Host, Url};

use crate::error::DevIdpError;
use crate::key::Instance;
use crate::token::random_hex;
use chance::Chance;
use delivery::{Delivery, Endpoint, Order, Progress};

pub use signature::webhook_signature;

/// Pauses before further attempts, unless a test sets others. Clerk's are 5 s, 5 min, 30 min and hours.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// What goes wrong on purpose with the deliveries of webhooks. By default nothing does.
///
/// The same seed and the same events give the same faults; each fault draws by itself, so that switching one on leaves
/// the others as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookFaults {
    /// Percentage of events that are delivered twice, with the same id.
    pub duplicate: u8,
    /// Percentage of events that are never delivered.
    pub loss: u8,
    /// Each delivery is late by a random time up to this one.
    pub delay: Duration,
    /// Lets events overtake each other by up to four places.
    pub reorder: bool,
    /// Where chance begins.
    pub seed: u64,
}

/// What has become of the events since the provider started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookCounters {
    /// Events that happened while an endpoint was set, lost ones included.
    pub events: u64,
    /// Requests to the endpoint.
    pub sent: u64,
    /// Deliveries that were answered with 2xx; a duplicate is a delivery of its own.
    pub accepted: u64,
    /// Events that were lost on purpose.
    pub lost: u64,
    /// Events that were delivered twice on purpose.
    pub duplicated: u64,
    /// Deliveries that were not accepted by their last attempt.
    pub given_up: u64,
}

/// The events of one provider on their way out.
pub(crate) struct Webhooks {
    outbox: Mutex<Outbox>,
    progress: Arc<Progress>,
}

struct Outbox {
    /// Without one, events are dropped, as Clerk does without an endpoint.
    orders: Option<UnboundedSender<Order>>,
    faults: WebhookFaults,
    chance: Chance,
    pauses: Arc<[Duration]>,
}

impl Default for Webhooks {
    fn default() -> Self {
        let faults = WebhookFaults::default();
        let outbox = Outbox { orders: None, faults, chance: Chance::new(faults.seed), pauses: Arc::new(PAUSES) };
        Self { outbox: Mutex::new(outbox), progress: Arc::default() }
    }
}

impl Webhooks {
    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send_to(&self, url: &str, instance: &Instance, clock: Arc<dyn Clock>) -> Result<(), DevIdpError> {
        let url = endpoint(url)?;
        let runtime = Handle::try_current().map_err(|_| DevIdpError::NoRuntime)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("Svix-Webhooks/dev-idp")
            .build()
            .map_err(DevIdpError::HttpClient)?;
        let secret = instance.webhook_secret().to_owned();
        let (orders, receiver) = unbounded_channel();
        let endpoint = Arc::new(Endpoint { url, secret, client, clock, progress: Arc::clone(&self.progress) });
        runtime.spawn(endpoint.serve(receiver));
        self.lock().orders = Some(orders);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.lock().orders = None;
    }

    pub(crate) fn set_faults(&self, faults: WebhookFaults) {
        let mut outbox = self.lock();
        outbox.faults = faults;
        outbox.chance = Chance::new(faults.seed);
    }

    pub(crate) fn faults(&self) -> WebhookFaults {
        self.lock().faults
    }

    pub(crate) fn set_pauses(&self, pauses: &[Duration]) {
        self.lock().pauses = pauses.into();
    }

    pub(crate) fn counters(&self) -> WebhookCounters {
        self.progress.counters()
    }

    /// Sends off one event. The caller holds the lock under which it happened, so that events leave in their order.
    pub(crate) fn emit(&self, kind: &str, data: &Value, instance: &Instance, now: Timestamp) {
        let mut outbox = self.lock();
        let Some(orders) = outbox.orders.clone() else { return };
        let body: Arc<str> = envelope(kind, data, instance, now).to_string().into();
        let id = format!("msg_{}", random_hex::<14>());
        self.progress.count(|counters| counters.events += 1);
        let copies = outbox.copies();
        match copies.len() {
            0 => self.progress.count(|counters| counters.lost += 1),
            1 => {}
            _ => self.progress.count(|counters| counters.duplicated += 1),
        }
        for (due, order) in copies {
            let pauses = Arc::clone(&outbox.pauses);
            let delivery = Delivery { id: id.clone(), body: Arc::clone(&body), due, order, pauses };
            self.progress.begin();
            // The runtime that delivered has ended.
            if orders.send(Order::Deliver(delivery)).is_err() {
                self.progress.end(|counters| counters.given_up += 1);
            }
        }
    }

    pub(crate) async fn settled(&self) {
        if let Some(orders) = &self.lock().orders {
            // Without a receiver nothing is waiting.
            let _ = orders.send(Order::Flush);
        }
        // The sender lives as long as `self`.
        let _ = self.progress.outstanding.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Outbox {
    /// When the copies of an event are due and in what order: none if it is lost, two if it is duplicated.
    fn copies(&mut self) -> Vec<(Option<Instant>, Option<u64>)> {
        // Always as many draws, so that one fault does not change the course of the others.
        let [loss, duplicate, first_delay, first_order, second_delay, second_order] =
            [(); 6].map(|()| self.chance.draw());
        let happens = |draw: u64, percent: u8| draw % 100 < u64::from(percent);
        if happens(loss, self.faults.loss) {
            return Vec::new();
        }
        let micros = u64::try_from(self.faults.delay.as_micros()).unwrap_or(u64::MAX);
        let due = |draw: u64| (micros > 0).then(|| Instant::now() + Duration::from_micros(draw % micros));
        let order = |draw: u64| self.faults.reorder.then_some(draw);
        let mut copies = vec![(due(first_delay), order(first_order))];
        if happens(duplicate, self.faults.duplicate) {
            copies.push((due(second_delay), order(second_order)));
        }
        copies
    }
}

fn envelope(kind: &str, data: &Value, instance: &Instance, now: Timestamp) -> Value {
    json!({
        "object": "event",
        "type": kind,
        "data": data,
        "instance_id": instance.id(),
        "timestamp": now.unix_millis(),
        "event_attributes": { "http_request": { "client_ip": "127.0.0.1", "user_agent": "portal-dev-idp" } },
    })
}

/// An address on this machine, over plain HTTP.
fn endpoint(text: &str) -> Result<Url, DevIdpError> {
    let refused = || DevIdpError::WebhookEndpoint(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    if local && url.scheme() == "http" { Ok(url) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stay_on_this_machine() {
        for url in ["http://localhost:1/a", "http://127.0.0.1/", "http://127.9.9.9:80", "http://[::1]:8080/x?y"] {
            assert!(endpoint(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "localhost",
            "https://localhost/",
            "ftp://localhost/",
            "http://example.com/",
            "http://localhost.example.com/",
            "http://localhost@example.com/",
            "http://0.0.0.0/",
            "http://192.168.1.4/",
            "http://[2001:db8::1]/",
        ] {
            let refusal = endpoint(url).unwrap_err();
            assert!(matches!(refusal, DevIdpError::WebhookEndpoint(_)), "{url}");
        }
    }

    #[test]
    fn one_fault_leaves_the_course_of_the_others_as_it_was() {
        let course = |faults: WebhookFaults| {
            let mut outbox = Outbox { orders: None, faults, chance: Chance::new(7), pauses: Arc::new([]) };
            (0..50).map(|_| outbox.copies().len()).collect::<Vec<_>>()
        };
        let lost = course(WebhookFaults { loss: 30, ..WebhookFaults::default() });
        let both = course(WebhookFaults { loss: 30, duplicate: 40, ..WebhookFaults::default() });
        let places = |course: &[usize]| (0..50).filter(|place| course[*place] == 0).collect::<Vec<_>>();
        assert_eq!(places(&lost), places(&both));
        assert!(both.contains(&2) && lost.contains(&0) && !lost.contains(&2));
        assert!(course(WebhookFaults { loss: 100, ..WebhookFaults::default() }).iter().all(|copies| *copies == 0));
        assert!(course(WebhookFaults { duplicate: 100, ..WebhookFaults::default() }).iter().all(|copies| *copies == 2));
    }
}
