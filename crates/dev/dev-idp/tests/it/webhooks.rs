//! Deliveries: signature, envelope, further attempts, and what goes wrong on purpose.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_dev_idp::{DevIdp, DevIdpError, Instance, Person, WebhookCounters, WebhookFaults, webhook_signature};
use serde_json::{Value, json};

use crate::client::{get, refusal, send};
use crate::receiver::{Delivery, Receiver};
use crate::{NOW, idp, key};

/// Adds people called `person-00` and so on; each addition is one event.
fn add(idp: &DevIdp, count: usize) {
    for number in 0..count {
        idp.add_person(Person::new(&format!("person-{number:02}")));
    }
}

fn people(deliveries: &[Delivery]) -> Vec<String> {
    let name = |delivery: &Delivery| delivery.event()["data"]["id"].as_str().expect("an id").to_owned();
    deliveries.iter().map(|delivery| name(delivery).replace("user_dev_person_", "")).collect()
}

/// What arrives of 40 events under these faults.
async fn course(faults: WebhookFaults) -> (Vec<String>, WebhookCounters) {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.set_webhook_faults(faults);
    add(&idp, 40);
    let arrived = people(&receiver.deliveries(&idp).await);
    (arrived, idp.webhook_counters())
}

fn in_order() -> Vec<String> {
    (0..40).map(|number| format!("{number:02}")).collect()
}

#[test]
fn the_published_vector_of_signatures_holds() {
    let signature = webhook_signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"] {
        assert_eq!(webhook_signature(wrong, "msg_1", 1, b""), None, "{wrong}");
    }
}

#[test]
fn the_secret_follows_from_the_key_and_is_not_the_other_one() {
    let instance = Instance::of(&key());
    let secret = STANDARD.decode(instance.webhook_secret().strip_prefix("whsec_").unwrap()).unwrap();
    assert_eq!(secret.len(), 32);
    assert_eq!(Instance::of(&key()).webhook_secret(), instance.webhook_secret());
    let other = instance.secret_key().strip_prefix("sk_test_").unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    assert_ne!(secret, other.chunks(2).map(byte).collect::<Vec<_>>());
}

#[actix_web::test]
async fn a_delivery_is_signed_and_says_what_happened_where_and_when() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    add(&idp, 1);
    let [delivery] = receiver.deliveries(&idp).await.try_into().unwrap();
    assert!(delivery.id.starts_with("msg_") && !delivery.id.contains('.'));
    assert_eq!(delivery.timestamp, NOW.to_string());
    assert_eq!(delivery.content_type, "application/json");

    let secret = STANDARD.decode(idp.instance().webhook_secret().strip_prefix("whsec_").unwrap()).unwrap();
    let mut signed = format!("{}.{}.", delivery.id, delivery.timestamp).into_bytes();
    signed.extend(&delivery.body);
    let signature = delivery.signature.strip_prefix("v1,").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &signed, &signature).unwrap();

    let mut event = delivery.event();
    assert_eq!(event["data"].take()["id"], "user_dev_person_00");
    assert_eq!(
        event,
        json!({
            "object": "event",
            "type": "user.created",
            "data": null,
            "instance_id": idp.signing_key().kid(),
            "timestamp": NOW * 1_000,
            "event_attributes": { "http_request": { "client_ip": "127.0.0.1", "user_agent": "portal-dev-idp" } },
        })
    );
}

#[actix_web::test]
async fn what_fails_is_tried_again_with_the_same_id_and_does_not_hold_up_the_rest() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.set_webhook_pauses(&[Duration::from_millis(1), Duration::from_millis(1), Duration::from_millis(1)]);
    receiver.answer(&[503, 302, 400]);
    add(&idp, 1);
    let deliveries = receiver.deliveries(&idp).await;
    assert_eq!(deliveries.len(), 4, "a redirect is no success and is not followed");
    let ids: BTreeSet<_> = deliveries.iter().map(|delivery| (&delivery.id, &delivery.body)).collect();
    assert_eq!(ids.len(), 1);
    let counters = idp.webhook_counters();
    assert_eq!((counters.events, counters.sent, counters.accepted, counters.given_up), (1, 4, 1, 0));

    idp.set_webhook_pauses(&[Duration::from_hours(1)]);
    receiver.answer(&[503]);
    add(&idp, 3);
    assert_eq!(people(&receiver.first(2).await), ["01", "02"], "while the second attempt waits for an hour");
}

#[actix_web::test]
async fn deliveries_are_given_up_after_the_last_attempt_or_when_asked_to() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.set_webhook_pauses(&[Duration::ZERO]);
    receiver.answer(&[500, 500]);
    add(&idp, 1);
    assert_eq!(receiver.deliveries(&idp).await.len(), 2);
    idp.set_webhook_pauses(&[Duration::ZERO, Duration::ZERO]);
    receiver.answer(&[410]);
    receiver.abort();
    add(&idp, 2);
    assert_eq!(people(&receiver.deliveries(&idp).await), ["01"]);
    let counters = idp.webhook_counters();
    assert_eq!((counters.events, counters.accepted, counters.given_up), (2, 0, 2));
}

#[actix_web::test]
async fn without_faults_events_arrive_once_and_in_order() {
    let (arrived, counters) = course(WebhookFaults::default()).await;
    assert_eq!(arrived, in_order());
    let expected = WebhookCounters { events: 40, sent: 40, accepted: 40, ..WebhookCounters::default() };
    assert_eq!(counters, expected);
}

#[actix_web::test]
async fn losses_and_duplicates_repeat_with_the_seed() {
    let faults = WebhookFaults { loss: 25, duplicate: 25, seed: 11, ..WebhookFaults::default() };
    let (arrived, counters) = course(faults).await;
    assert_eq!(course(faults).await, (arrived.clone(), counters));
    assert_ne!(course(WebhookFaults { seed: 12, ..faults }).await.0, arrived);
    assert!(counters.lost > 0 && counters.duplicated > 0, "{counters:?}");
    assert_eq!(counters.events, 40);
    assert_eq!(counters.accepted, 40 - counters.lost + counters.duplicated);
    let once: Vec<_> = arrived.iter().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(once.len() as u64, 40 - counters.lost);
    assert!(arrived.is_sorted(), "the rest stays in order");
}

#[actix_web::test]
async fn a_duplicate_has_the_id_of_the_first() {
    let idp = idp();
    let receiver = Receiver::of(&idp);
    idp.set_webhook_faults(WebhookFaults { duplicate: 100, ..WebhookFaults::default() });
    add(&idp, 1);
    let [first, second] = receiver.deliveries(&idp).await.try_into().unwrap();
    assert_eq!((first.id, first.body), (second.id, second.body));
}

#[actix_web::test]
async fn events_overtake_each_other_the_same_way_with_the_same_seed() {
    let faults = WebhookFaults { reorder: true, seed: 3, ..WebhookFaults::default() };
    let (arrived, counters) = course(faults).await;
    assert_eq!(course(faults).await.0, arrived);
    assert_ne!(arrived, in_order());
    let mut sorted = arrived;
    sorted.sort();
    assert_eq!(sorted, in_order(), "and none is missing");
    assert_eq!(counters.accepted, 40);
}

#[actix_web::test]
async fn a_delay_makes_events_late_and_keeps_their_order() {
    let (arrived, counters) =
        course(WebhookFaults { delay: Duration::from_millis(30), ..WebhookFaults::default() }).await;
    assert_eq!(arrived, in_order());
    assert_eq!(counters.accepted, 40);
}

#[actix_web::test]
async fn without_an_endpoint_events_are_dropped() {
    let idp = idp();
    add(&idp, 2);
    idp.webhooks_settled().await;
    assert_eq!(idp.webhook_counters(), WebhookCounters::default());
    let receiver = Receiver::of(&idp);
    idp.remove_person("user_dev_person_00");
    assert_eq!(receiver.kinds(&idp).await, ["user.deleted"], "what happened before is not told");
    idp.stop_webhooks();
    idp.remove_person("user_dev_person_01");
    assert_eq!(receiver.kinds(&idp).await, Vec::<String>::new());
    idp.send_webhooks_to(&receiver.url).unwrap();
    add(&idp, 1);
    assert_eq!(receiver.kinds(&idp).await, ["user.created"]);
}

#[actix_web::test]
async fn an_address_elsewhere_is_refused() {
    let refused = idp().send_webhooks_to("https://portal.example.com/webhooks").unwrap_err();
    assert!(matches!(refused, DevIdpError::WebhookEndpoint(_)), "{refused}");
}

#[test]
fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
    assert!(matches!(idp().send_webhooks_to("http://localhost:1/"), Err(DevIdpError::NoRuntime)));
}

fn switch() -> TestRequest {
    TestRequest::post().uri("/__clerk/webhook-faults").insert_header(("host", "localhost:8080"))
}

#[actix_web::test]
async fn the_switches_are_set_over_http_by_this_machine_alone() {
    let idp = idp();
    let set = json!({ "duplicate": 5, "loss": 10, "delay_ms": 20, "reorder": true, "seed": 7 });
    let answer = send(&idp, switch().set_json(&set)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["faults"], set);
    assert_eq!(answer.json()["counters"]["events"], 0);
    let expected = WebhookFaults { duplicate: 5, loss: 10, delay: Duration::from_millis(20), reorder: true, seed: 7 };
    assert_eq!(idp.webhook_faults(), expected);

    let page = send(&idp, get("/__clerk")).await.text;
    assert!(page.contains("name=\"loss\" min=\"0\" max=\"100\" value=\"10\""), "{page}");
    assert!(page.contains("value=\"true\" checked"), "{page}");

    let too_much = send(&idp, switch().set_json(json!({ "loss": 101 }))).await;
    assert_eq!(too_much.error(), refusal(422, "form_param_value_invalid"));
    let foreign = send(&idp, switch().insert_header(("sec-fetch-site", "cross-site")).set_json(json!({}))).await;
    assert_eq!(foreign.error(), refusal(403, "cross_site_request"));
    let elsewhere = TestRequest::post().uri("/__clerk/webhook-faults").insert_header(("host", "example.com"));
    assert_eq!(send(&idp, elsewhere.set_json(json!({}))).await.error(), refusal(403, "host_not_allowed"));
    assert_eq!(idp.webhook_faults(), expected);

    let from_page =
        send(&idp, switch().set_form([("duplicate", "1"), ("loss", "0"), ("delay_ms", "0"), ("seed", "2")])).await;
    assert_eq!(from_page.status, StatusCode::SEE_OTHER);
    assert_eq!(from_page.headers.get("location").unwrap(), "/__clerk");
    assert_eq!(idp.webhook_faults(), WebhookFaults { duplicate: 1, seed: 2, ..WebhookFaults::default() });
    let nonsense: Value = json!({ "lost": 1 });
    assert_eq!(send(&idp, switch().set_json(nonsense)).await.status, StatusCode::BAD_REQUEST);
}

/// What Svix's library signed, as `tests/conformance/webhooks.json` records it: it accepts what this provider sends.
#[test]
fn deliveries_are_signed_as_by_svix() {
    let recorded = include_str!("../../../../../tests/conformance/webhooks.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let text = |case: &Value, pointer: &str| case.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let of_one = |case: &&Value| text(case, "/name").ends_with(", one secret");
    let mut compared = 0;
    for case in recorded["cases"].as_array().unwrap().iter().filter(of_one) {
        let sent_at = text(case, "/headers/svix-timestamp").parse().unwrap();
        let (secret, id, body) = (text(case, "/secrets/0"), text(case, "/headers/svix-id"), text(case, "/body"));
        let signature = webhook_signature(&secret, &id, sent_at, body.as_bytes()).unwrap();
        assert_eq!(signature, text(case, "/headers/svix-signature"));
        compared += 1;
    }
    assert_eq!(compared, 4);
}
