//! The task that carries events to the endpoint, and the tasks that try again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portal_kernel::Clock;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use url::Url;

use super::WebhookCounters;
use super::signature::webhook_signature;

/// As long as Clerk waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How many deliveries wait for others to overtake them.
const WINDOW: usize = 4;
/// How long they wait when nothing comes after them.
const HOLD: Duration = Duration::from_millis(200);

/// One event on its way; a duplicate is a delivery of its own with the same id.
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) body: Arc<str>,
    /// Not sent before.
    pub(super) due: Option<Instant>,
    /// With an order, deliveries wait for each other and the lowest goes first.
    pub(super) order: Option<u64>,
    pub(super) pauses: Arc<[Duration]>,
}

pub(super) enum Order {
    Deliver(Delivery),
    /// Nobody waits to be overtaken any longer.
    Flush,
}

/// What has become of the events so far.
#[derive(Default)]
pub(super) struct Progress {
    counters: Mutex<WebhookCounters>,
    pub(super) outstanding: watch::Sender<usize>,
}

impl Progress {
    pub(super) fn count(&self, change: impl FnOnce(&mut WebhookCounters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn counters(&self) -> WebhookCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.outstanding.send_modify(|count| *count += 1);
    }

    pub(super) fn end(&self, change: impl FnOnce(&mut WebhookCounters)) {
        self.count(change);
        self.outstanding.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Where deliveries go, and with what.
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) secret: String,
    pub(super) client: reqwest::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: Arc<Progress>,
}

enum Verdict {
    Accepted,
    Failed,
    /// The endpoint wants no further attempt.
    Aborted,
}

impl Endpoint {
    /// Takes orders until nobody can give any more. First attempts are made one after the other.
    pub(super) async fn serve(self: Arc<Self>, mut orders: UnboundedReceiver<Order>) {
        let mut held: Vec<Delivery> = Vec::new();
        loop {
            let order = if held.is_empty() {
                orders.recv().await
            } else {
                timeout(HOLD, orders.recv()).await.unwrap_or(Some(Order::Flush))
            };
            match order {
                Some(Order::Deliver(delivery)) if delivery.order.is_some() => {
                    held.push(delivery);
                    if held.len() > WINDOW {
                        let first = take_lowest(&mut held);
                        self.begin(first).await;
                    }
                }
                Some(Order::Deliver(delivery)) => {
                    self.flush(&mut held).await;
                    self.begin(Some(delivery)).await;
                }
                Some(Order::Flush) => self.flush(&mut held).await,
                None => return self.flush(&mut held).await,
            }
        }
    }

    async fn flush(self: &Arc<Self>, held: &mut Vec<Delivery>) {
        while !held.is_empty() {
            let first = take_lowest(held);
            self.begin(first).await;
        }
    }

    /// The first attempt. Those after it do not hold up what follows.
    async fn begin(self: &Arc<Self>, delivery: Option<Delivery>) {
        let Some(delivery) = delivery else { return };
        if let Some(due) = delivery.due {
            sleep_until(due).await;
        }
        match self.attempt(&delivery).await {
            Verdict::Accepted => self.progress.end(|counters| counters.accepted += 1),
            Verdict::Aborted => self.progress.end(|counters| counters.given_up += 1),
            Verdict::Failed => {
                tokio::spawn(Arc::clone(self).try_again(delivery));
            }
        }
    }

    async fn try_again(self: Arc<Self>, delivery: Delivery) {
        for pause in delivery.pauses.iter() {
            sleep(*pause).await;
            match self.attempt(&delivery).await {
                Verdict::Accepted => return self.progress.end(|counters| counters.accepted += 1),
                Verdict::Aborted => break,
                Verdict::Failed => {}
            }
        }
        self.progress.end(|counters| counters.given_up += 1);
    }

    async fn attempt(&self, delivery: &Delivery) -> Verdict {
        self.progress.count(|counters| counters.sent += 1);
        let timestamp = self.clock.now().unix_seconds();
        let signature = webhook_signature(&self.secret, &delivery.id, timestamp, delivery.body.as_bytes());
        let request = self
            .client
            .post(self.url.clone())
            .timeout(ANSWER_WITHIN)
            .header(CONTENT_TYPE, "application/json")
            .header("svix-id", &delivery.id)
            .header("svix-timestamp", timestamp)
            .header("svix-signature", signature.unwrap_or_default())
            .body(delivery.body.as_bytes().to_vec());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Verdict::Accepted,
            Ok(answer) if answer.headers().get("webhook-delivery").is_some_and(|value| value == "abort-message") => {
                Verdict::Aborted
            }
            Ok(_) | Err(_) => Verdict::Failed,
        }
    }
}

fn take_lowest(held: &mut Vec<Delivery>) -> Option<Delivery> {
    let (place, _) = held.iter().enumerate().min_by_key(|(_, delivery)| delivery.order)?;
    Some(held.remove(place))
}
