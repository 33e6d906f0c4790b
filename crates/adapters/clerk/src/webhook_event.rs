//! The envelope that every event of a webhook comes in.

use std::fmt;

use portal_kernel::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::times;

/// Numbers from here on are milliseconds: as seconds they would be in the year 5138. Clerk's descriptions disagree on the unit.
const FIRST_MILLIS: i64 = 100_000_000_000;

/// An event, of whatever type. Unknown members are ignored, and an unknown type is to be answered with 2xx like any other.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(remote = "Self")]
pub struct WebhookEvent {
    /// `event`.
    pub object: String,
    /// What happened: `user.created` and the like. New ones may come at any time.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whom or what it happened to; not looked into. Required, though it may be null.
    pub data: Value,
    /// When it happened, if the event says so. Says nothing about order: events overtake each other.
    #[serde(default, deserialize_with = "moment")]
    pub timestamp: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for WebhookEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName)
    }
}

/// Takes members by their names. What is derived would take them from a list as well, in the order that they have here.
struct ByName;

impl<'de> Visitor<'de> for ByName {
    type Value = WebhookEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the envelope of an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<WebhookEvent, A::Error> {
        // The derived function, which stands before the trait's.
        WebhookEvent::deserialize(MapAccessDeserializer::new(members))
    }
}

impl fmt::Debug for WebhookEvent {
    /// Without the data: it is about people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEvent")
            .field("kind", &self.kind)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_i64().and_then(|number| {
        if number < FIRST_MILLIS { Timestamp::from_unix_seconds(number) } else { times::from_millis(number) }
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<WebhookEvent> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn an_event_is_read_and_its_data_left_alone() {
        let event = read(
            r#"{"data": {"id":"user_1", "n":[1.0, null]}, "object": "event", "type": "user.created", "timestamp": 1654012591835,
                "instance_id": "ins_1", "event_attributes": {"http_request": {"client_ip": "192.0.2.1"}}, "new": [1]}"#,
        )
        .unwrap();
        assert_eq!((event.object.as_str(), event.kind.as_str()), ("event", "user.created"));
        assert_eq!(event.data, json!({ "id": "user_1", "n": [1.0, null] }));
        assert_eq!(event.timestamp.unwrap().unix_millis(), 1_654_012_591_835);
        assert!(!format!("{event:?}").contains("user_1"));
    }

    #[test]
    fn a_timestamp_is_in_seconds_or_in_milliseconds() {
        for (written, millis) in [
            ("1654012591", Some(1_654_012_591_000)),
            ("1654012591835", Some(1_654_012_591_835)),
            ("99999999999", Some(99_999_999_999_000)),
            ("100000000000", Some(100_000_000_000)),
            ("0", Some(0)),
            ("-1", Some(-1_000)),
            ("9223372036854775807", None),
            ("-9223372036854775808", None),
            ("18446744073709551615", None),
            ("1654012591.5", None),
            ("\"1654012591\"", None),
            ("null", None),
            ("{}", None),
        ] {
            let event = read(&format!(r#"{{"object":"event","type":"x","data":{{}},"timestamp":{written}}}"#)).unwrap();
            assert_eq!(event.timestamp.map(Timestamp::unix_millis), millis, "{written}");
        }
    }

    #[test]
    fn type_and_data_are_all_that_an_event_needs_to_be_told_from_other_things() {
        for (text, is_event) in [
            (r#"{"object":"event","type":"x.unknown","data":null}"#, true),
            (r#"{"object":"event","type":"x","data":[1],"instance_id":7}"#, true),
            (r#"{"object":"event","type":"x"}"#, false),
            (r#"{"object":"event","data":{}}"#, false),
            (r#"{"type":"x","data":{}}"#, false),
            (r#"{"object":"event","type":1,"data":{}}"#, false),
            (r#"{"object":"event","type":"x","type":"y","data":{}}"#, false),
            (r#"{"object":"event","type":"x","data":{}} {}"#, false),
            (r#"["event","x",{}]"#, false),
            (r#"["event","x",{},"ins_1",1654012591]"#, false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(read(text).is_some(), is_event, "{text}");
        }
        let error = serde_json::from_str::<WebhookEvent>("[]").unwrap_err().to_string();
        assert!(error.contains("the envelope of an event"), "{error}");
    }
}
