//! Webhooks of Clerk: whether a delivery is genuine. Nothing of its body is read before that.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portal_kernel::Timestamp;

use crate::webhook_event::WebhookEvent;

/// Largest difference between the clocks of sender and receiver, in seconds. Older deliveries may be replays.
const TOLERANCE: i64 = 300;
const HEADERS: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

/// The text is not a signing secret of a webhook. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhookSecret {
    /// What follows the prefix is not standard base64.
    #[error("is not the signing secret of a webhook; copy it from the endpoint in Clerk's dashboard: whsec_…")]
    NotBase64,
    /// A secret of no length, with which everybody can sign.
    #[error("is an empty signing secret; copy it from the endpoint in Clerk's dashboard: whsec_…")]
    Empty,
}

/// `whsec_…`: what Clerk signs the deliveries to one endpoint with. Never printed.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

impl WebhookSecret {
    /// Accepts standard base64 with padding, without the white space around it; the prefix may be missing, as in Clerk's SDK.
    pub fn parse(text: &str) -> Result<Self, InvalidWebhookSecret> {
        let text = text.trim();
        let secret = STANDARD
            .decode(text.strip_prefix("whsec_").unwrap_or(text))
            .map_err(|_| InvalidWebhookSecret::NotBase64)?;
        if secret.is_empty() {
            return Err(InvalidWebhookSecret::Empty);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The value of `svix-signature` for a delivery that is sent at that second: `v1,` and the signature in base64.
    pub fn sign(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> String {
        format!("v1,{}", self.signature(id, &timestamp.unix_seconds().to_string(), body))
    }

    /// Covers the headers as they were sent, not what they mean.
    fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        STANDARD.encode(context.sign())
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

/// Verifies the deliveries to one endpoint.
#[derive(Debug, Clone)]
pub struct WebhookVerifier {
    secret: WebhookSecret,
    other: Option<WebhookSecret>,
}

impl WebhookVerifier {
    /// With the one secret of the endpoint.
    pub fn new(secret: WebhookSecret) -> Self {
        Self { secret, other: None }
    }

    /// Accepts a second secret as well, while one takes the place of the other. A third replaces the second.
    #[must_use]
    pub fn also_accepting(self, other: WebhookSecret) -> Self {
        Self { other: Some(other), ..self }
    }

    /// What can be said before the body has come: the error of [`WebhookVerifier::verify`] if it is about the headers alone. What passes
    /// may still be anybody's.
    pub fn screen<'a, N, V>(
        &self,
        headers: impl IntoIterator<Item = (&'a N, &'a V)>,
        now: Timestamp,
    ) -> Result<(), WebhookError>
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let head = Head::read(headers, now)?;
        // Nothing else is compared with a signature.
        if head.signatures.split(' ').any(|entry| entry.starts_with("v1,")) {
            Ok(())
        } else {
            Err(WebhookError::InvalidSignature)
        }
    }

    /// Whether Clerk sent this body, within 300 seconds of `now`.
    ///
    /// The headers are all those of the request: a `&HeaderMap`, of the crate `http` as of actix-web, is given as it is. The
    /// body is the bytes as they came. `svix-id`, `svix-timestamp` and `svix-signature` must be there once each; the last is a
    /// list of `<version>,<signature>` with spaces, of which one `v1` has to fit, whatever else is in it. Whoever calls this bounds
    /// headers and body; 1 MiB is enough for any event.
    ///
    /// A delivery that was verified may still have come before: Clerk repeats until it has an answer of 2xx, always with the
    /// same [`VerifiedWebhook::id`].
    pub fn verify<'a, N, V>(
        &self,
        headers: impl IntoIterator<Item = (&'a N, &'a V)>,
        body: &'a [u8],
        now: Timestamp,
    ) -> Result<VerifiedWebhook<'a>, WebhookError>
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let Head { id, sent_at, timestamp, signatures } = Head::read(headers, now)?;
        let is_signed = [Some(&self.secret), self.other.as_ref()].into_iter().flatten().any(|secret| {
            let expected = secret.signature(id, sent_at, body);
            signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1,")).any(|signature| {
                // As text: base64 of other spelling, and what is no base64 at all, is simply not equal.
                verify_slices_are_equal(signature.as_bytes(), expected.as_bytes()).is_ok()
            })
        });
        if is_signed { Ok(VerifiedWebhook { id, timestamp, body }) } else { Err(WebhookError::InvalidSignature) }
    }
}

/// The three headers, each within its bounds.
struct Head<'a> {
    id: &'a str,
    /// The timestamp, as it was sent.
    sent_at: &'a str,
    timestamp: Timestamp,
    signatures: &'a str,
}

impl<'a> Head<'a> {
    fn read<N, V>(headers: impl IntoIterator<Item = (&'a N, &'a V)>, now: Timestamp) -> Result<Self, WebhookError>
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let [id, sent_at, signatures] = read(headers)?;
        // The separator of what is signed: with it in the id, one signature would fit several deliveries.
        if id.contains('.') {
            return Err(WebhookError::UnreadableHeader(HEADERS[0]));
        }
        let timestamp = seconds(sent_at).ok_or(WebhookError::UnreadableHeader(HEADERS[1]))?;
        let ahead = timestamp.unix_seconds().saturating_sub(now.unix_seconds());
        if !(-TOLERANCE..=TOLERANCE).contains(&ahead) {
            return Err(if ahead.is_negative() { WebhookError::TooOld } else { WebhookError::TooNew });
        }
        Ok(Self { id, sent_at, timestamp, signatures })
    }
}

/// The values of the three headers, in order, each from its only line and without white space around it.
fn read<'a, N, V>(headers: impl IntoIterator<Item = (&'a N, &'a V)>) -> Result<[&'a str; 3], WebhookError>
where
    N: AsRef<str> + ?Sized + 'a,
    V: AsRef<[u8]> + ?Sized + 'a,
{
    let mut found = [None; 3];
    for (name, value) in headers {
        let Some(at) = HEADERS.iter().position(|known| known.eq_ignore_ascii_case(name.as_ref())) else { continue };
        if found[at].replace(value.as_ref()).is_some() {
            return Err(WebhookError::RepeatedHeader(HEADERS[at]));
        }
    }
    let mut values = [""; 3];
    for ((name, bytes), value) in HEADERS.into_iter().zip(found).zip(&mut values) {
        let bytes = bytes.ok_or(WebhookError::MissingHeader(name))?;
        *value = std::str::from_utf8(bytes).map_err(|_| WebhookError::UnreadableHeader(name))?.trim();
        if value.is_empty() {
            return Err(WebhookError::MissingHeader(name));
        }
    }
    Ok(values)
}

/// Digits only.
fn seconds(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).and_then(Timestamp::from_unix_seconds)
}

/// A delivery that Clerk signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifiedWebhook<'a> {
    id: &'a str,
    timestamp: Timestamp,
    body: &'a [u8],
}

impl<'a> VerifiedWebhook<'a> {
    /// `svix-id`: the same for every attempt and replay of one message, so that a second one can be told.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// When this attempt was sent.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The body, as it was signed.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The envelope in the body; [`WebhookError::NotAnEvent`] if it holds none.
    pub fn event(&self) -> Result<WebhookEvent, WebhookError> {
        // Members that nobody asks for are skipped unread, so that only this notices what is no text.
        let text = std::str::from_utf8(self.body).map_err(|_| WebhookError::NotAnEvent)?;
        serde_json::from_str(text).map_err(|_| WebhookError::NotAnEvent)
    }
}

impl fmt::Debug for VerifiedWebhook<'_> {
    /// Without the body: it is about people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedWebhook")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Why a delivery is refused: to be answered with 400 and nothing of this. Never repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// One of the three headers is not there, or is empty.
    #[error("the header {0} is missing or empty")]
    MissingHeader(&'static str),
    /// One of the three headers is there more than once.
    #[error("the header {0} is there more than once")]
    RepeatedHeader(&'static str),
    /// One of the three headers is not text, the id holds a dot, or the timestamp is not a number of seconds.
    #[error("the header {0} cannot be read")]
    UnreadableHeader(&'static str),
    /// Sent more than 300 seconds ago.
    #[error("the delivery is more than five minutes old")]
    TooOld,
    /// Sent more than 300 seconds from now.
    #[error("the delivery is more than five minutes ahead of the clock")]
    TooNew,
    /// No secret made any of the signatures.
    #[error("the signature is not one of Clerk's")]
    InvalidSignature,
    /// The signature is right, but the body is not the envelope of an event.
    #[error("the body is not an event")]
    NotAnEvent,
}

impl WebhookError {
    /// A text for logs and counters that never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MissingHeader(_) => "webhook-header-missing",
            Self::RepeatedHeader(_) => "webhook-header-repeated",
            Self::UnreadableHeader(_) => "webhook-header-unreadable",
            Self::TooOld => "webhook-too-old",
            Self::TooNew => "webhook-too-new",
            Self::InvalidSignature => "webhook-signature-invalid",
            Self::NotAnEvent => "webhook-not-an-event",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT_AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(text).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    fn check(headers: &[(&str, &[u8])], body: &[u8], now: Timestamp) -> Result<(), WebhookError> {
        let webhooks = WebhookVerifier::new(secret(SECRET));
        let headers = || headers.iter().map(|(name, value)| (*name, *value));
        let verified = webhooks.verify(headers(), body, now);
        // What the headers alone say is never another error, and never against what verifies.
        let screened = webhooks.screen(headers(), now);
        assert!(screened.is_ok() || screened == verified.map(drop), "{screened:?} {verified:?}");
        if !matches!(verified, Ok(_) | Err(WebhookError::InvalidSignature)) {
            assert!(screened.is_err(), "{verified:?}");
        }
        let verified = verified?;
        assert_eq!((verified.id(), verified.timestamp(), verified.body()), (ID, at(SENT_AT), body));
        Ok(())
    }

    fn with_headers(id: &str, timestamp: &str, signature: &str) -> Result<(), WebhookError> {
        let headers = [("svix-id", id), ("svix-timestamp", timestamp), ("svix-signature", signature)];
        check(&headers.map(|(name, value)| (name, value.as_bytes())), BODY, at(SENT_AT))
    }

    #[test]
    fn the_published_vector_verifies_and_is_what_signing_gives() {
        assert_eq!(with_headers(ID, "1614265330", SIGNATURE), Ok(()));
        assert_eq!(secret(SECRET).sign(ID, at(SENT_AT), BODY), SIGNATURE);
        assert_eq!(secret(&SECRET["whsec_".len()..]).sign(ID, at(SENT_AT), BODY), SIGNATURE);
    }

    #[test]
    fn a_secret_never_shows_itself_and_an_empty_one_is_refused() {
        let shown =
            format!("{:?} {:?}", secret(SECRET), WebhookVerifier::new(secret(SECRET)).also_accepting(secret(SECRET)));
        assert!(!shown.contains("MfKQ") && !shown.contains("49, 242"), "{shown}");
        for (text, error) in [
            ("", InvalidWebhookSecret::Empty),
            ("whsec_", InvalidWebhookSecret::Empty),
            (" whsec_\n", InvalidWebhookSecret::Empty),
            ("whsec_s3cret", InvalidWebhookSecret::NotBase64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", InvalidWebhookSecret::NotBase64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_", InvalidWebhookSecret::NotBase64),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidWebhookSecret::NotBase64),
            ("sk_live_s3cret", InvalidWebhookSecret::NotBase64),
        ] {
            let found = WebhookSecret::parse(text).unwrap_err();
            assert_eq!(found, error, "{text:?}");
            assert!(!format!("{found} {found:?}").contains("s3cret"), "{text:?}");
        }
    }

    #[test]
    fn each_header_is_there_once_and_says_something() {
        let good: [(&str, &[u8]); 3] =
            [("svix-id", ID.as_bytes()), ("svix-timestamp", b"1614265330"), ("svix-signature", SIGNATURE.as_bytes())];
        for (at_header, name) in HEADERS.into_iter().enumerate() {
            let without: Vec<_> = good.into_iter().filter(|(known, _)| *known != name).collect();
            let missing = Err(WebhookError::MissingHeader(name));
            assert_eq!(check(&without, BODY, at(SENT_AT)), missing);
            for (value, expected) in
                [(&b""[..], missing), (b" \t", missing), (b"\xff", Err(WebhookError::UnreadableHeader(name)))]
            {
                let mut changed = good;
                changed[at_header].1 = value;
                assert_eq!(check(&changed, BODY, at(SENT_AT)), expected, "{name}: {value:?}");
            }
            let repeated = [&good[..], &good[at_header..=at_header]].concat();
            assert_eq!(check(&repeated, BODY, at(SENT_AT)), Err(WebhookError::RepeatedHeader(name)));
        }
        // Names in any case, white space around values, and other headers do not matter.
        let spaced: [(&str, &[u8]); 5] = [
            ("SVIX-ID", b" msg_p5jXN8AQM9LWM0D4loKWxJek\t"),
            ("Svix-Timestamp", b"  1614265330 "),
            ("webhook-id", b"msg_other"),
            ("svix-id2", b"msg_other"),
            ("svix-signature", b" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= "),
        ];
        assert_eq!(check(&spaced, BODY, at(SENT_AT)), Ok(()));
        // The names of the general standard are not Clerk's.
        let renamed = good.map(|(name, value)| (name.replace("svix", "webhook"), value));
        let renamed: Vec<_> = renamed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(check(&renamed, BODY, at(SENT_AT)), Err(WebhookError::MissingHeader("svix-id")));
    }

    #[test]
    fn five_minutes_either_way_are_tolerated() {
        let headers: [(&str, &[u8]); 3] =
            [("svix-id", ID.as_bytes()), ("svix-timestamp", b"1614265330"), ("svix-signature", SIGNATURE.as_bytes())];
        for (passed, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(WebhookError::TooOld)),
            (-301, Err(WebhookError::TooNew)),
            (86_400, Err(WebhookError::TooOld)),
            (-SENT_AT, Err(WebhookError::TooNew)),
        ] {
            assert_eq!(check(&headers, BODY, at(SENT_AT + passed)), expected, "{passed}");
        }
    }

    #[test]
    fn a_timestamp_is_digits() {
        let unreadable = Err(WebhookError::UnreadableHeader("svix-timestamp"));
        for (timestamp, expected) in [
            ("+1614265330", unreadable),
            ("-1614265330", unreadable),
            ("1614265330.0", unreadable),
            ("1614265330 1", unreadable),
            ("0x6037c0b2", unreadable),
            ("now", unreadable),
            ("１６１４２６５３３０", unreadable),
            ("99999999999999999999", unreadable),
            ("9223372036854775807", unreadable),
            ("0", Err(WebhookError::TooOld)),
            ("1614265330000", unreadable),
            ("01614265330", Err(WebhookError::InvalidSignature)),
        ] {
            assert_eq!(with_headers(ID, timestamp, SIGNATURE), expected, "{timestamp}");
        }
    }

    #[test]
    fn a_signed_body_may_still_be_no_event() {
        for (body, kind) in [
            (&br#"{"object":"event","type":"user.created","data":{},"new":[]}"#[..], Some("user.created")),
            (b"{\"object\":\"event\",\"type\":\"user.created\",\"data\":{},\"new\":\"\xfa\"}", None),
            (br#"{"object":"event","type":"user.created","type":"user.deleted","data":{}}"#, None),
            (br#"{"test": 2432232314}"#, None),
            (br#"["event","user.created",{}]"#, None),
            (b"", None),
        ] {
            let verified = VerifiedWebhook { id: ID, timestamp: at(SENT_AT), body };
            let expected = kind.map(str::to_owned).ok_or(WebhookError::NotAnEvent);
            assert_eq!(verified.event().map(|event| event.kind), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn reasons_are_distinct() {
        let errors = [
            WebhookError::MissingHeader("svix-id"),
            WebhookError::RepeatedHeader("svix-id"),
            WebhookError::UnreadableHeader("svix-id"),
            WebhookError::TooOld,
            WebhookError::TooNew,
            WebhookError::InvalidSignature,
            WebhookError::NotAnEvent,
        ];
        let mut reasons = errors.map(WebhookError::reason).to_vec();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), errors.len());
    }
}
