//! The faults of the key source and of the clock, one row each beside what is expected of it. `docs/testing.md` shows the same rows.

use std::time::Duration;

use portal_clerk::{ClerkOptions, Clock, StrictChoices, TokenVerificationErrorReason as Reason};
use serde_json::json;

use crate::minting::{KEY, KID, NOW, OTHER, TestKey};
use crate::server::{FakeClerk, Reply, nobody, untrusted};
use crate::setup::{Setup, impatient, with_keys_of};

const DOCUMENT: &str = include_str!("../../../../../docs/testing.md");

/// What a good token gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    SignedIn,
    /// 503 to the caller: nobody can say.
    Outage,
    /// 401 to the caller.
    Refused(Reason),
}

use Verdict::{Outage, Refused, SignedIn};

impl Verdict {
    async fn of(setup: &Setup, token: &str) -> Self {
        let state = setup.get(&format!("Bearer {token}")).await;
        match setup.refusal(token).await {
            None if state.session().is_some() => SignedIn,
            Some(Reason::RemoteJwkFailedToLoad) if state.is_outage() => Outage,
            Some(reason) if !state.is_outage() && state.session().is_none() => Refused(reason),
            refusal => panic!("{refusal:?} and {state:?} contradict each other"),
        }
    }

    fn shown(self) -> String {
        match self {
            SignedIn => "signed in".to_owned(),
            Outage => "outage".to_owned(),
            Refused(reason) => format!("refused, `{reason}`"),
        }
    }
}

/// A row as the document shows it.
fn shown(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The rows of the table behind the name of a test.
fn documented(test: &str) -> Vec<&'static str> {
    let (_, behind) = DOCUMENT.split_once(&format!("`fault_list::{test}`")).unwrap();
    behind
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

/// Signed at a moment by the clock of the provider, for a minute.
fn minted(key: &TestKey, at: i64) -> String {
    key.session(&json!({ "iat": at, "nbf": at - 10, "exp": at + 60 }))
}

/// An authenticator of this source; impatient if a test has to wait for it to give up.
fn patient_enough(url: &str, reply: &Reply, choices: StrictChoices) -> ClerkOptions {
    let mut options = if reply.is_slow() { impatient(url) } else { with_keys_of(url) };
    options.choices = choices;
    options
}

/// What the token of this key gets when the source answers so from the start.
async fn with_nothing_cached(name: &str, reply: &Reply, key: &TestKey) -> Verdict {
    let server = FakeClerk::start(reply.clone()).await;
    let setup = Setup::new(patient_enough(server.url(), reply, StrictChoices::strict()));
    let verdict = Verdict::of(&setup, &minted(key, NOW)).await;
    assert_eq!(setup.clerk.stats().jwks_fetches, 1, "{name}");
    if verdict == Outage {
        server.set(Reply::good());
        assert_eq!(soon_signed_in(&setup).await, SignedIn, "{name}: it does not end by itself");
    }
    verdict
}

/// What it gets when the source begins to answer so, once the keys that it sent before have expired.
async fn with_keys_cached(name: &str, reply: &Reply, key: &TestKey, choices: StrictChoices) -> Verdict {
    let server = FakeClerk::start(Reply::good()).await;
    let setup = Setup::new(patient_enough(server.url(), reply, choices));
    assert_eq!(soon_signed_in(&setup).await, SignedIn, "{name}");
    let (before, hits) = (setup.clerk.stats(), server.hits());
    server.set(reply.clone());
    setup.advance(301);
    let verdict = Verdict::of(&setup, &minted(key, setup.clock.now().unix_seconds())).await;
    assert_eq!(setup.clerk.stats().jwks_fetches, before.jwks_fetches + 1, "{name}");
    assert!(server.hits() > hits, "{name}: nobody met the fault");
    server.set(Reply::good());
    // A usable set lives as long as any other.
    let failed = setup.clerk.stats().jwks_failures > before.jwks_failures;
    setup.advance(if failed { 5 } else { 301 });
    assert_eq!(soon_signed_in(&setup).await, SignedIn, "{name}: it does not end by itself");
    verdict
}

/// On a busy machine even a good answer may be too late for the shortest time-outs.
async fn soon_signed_in(setup: &Setup) -> Verdict {
    for _ in 0..10 {
        setup.advance(1);
        if Verdict::of(setup, &minted(&KEY, setup.clock.now().unix_seconds())).await == SignedIn {
            return SignedIn;
        }
    }
    Verdict::of(setup, &minted(&KEY, setup.clock.now().unix_seconds())).await
}

/// In exact no outage: the key is known, and no signature fits it.
const OTHER_KEYS: &str = "keys of another kind";

/// The answers that are no usable set: with nothing cached an outage, with keys cached nothing in `strict`.
fn useless() -> Vec<(&'static str, Reply)> {
    let large = |size: usize| format!("{{\"keys\":[{}],\"x\":\"{}\"}}", KEY.jwk(KID), "x".repeat(size));
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{{\"keys\":[{}", KEY.jwk(KID));
    let unannounced = format!("HTTP/1.1 200 OK\r\n\r\n{}", large(10 << 20));
    let page = Reply::status(200, "<!doctype html><title>Sign in to the network</title>");
    vec![
        ("429", Reply::status(429, "")),
        ("500", Reply::status(500, "oops")),
        ("503", Reply::status(503, "")),
        ("timeout: silence", Reply::Hang(Vec::new())),
        ("timeout: silence after the header", Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec())),
        ("slow drip", Reply::Drip),
        ("HTML", page.clone().with("content-type", "text/html")),
        ("HTML that calls itself JSON", page.with("content-type", "application/json")),
        ("truncated: the connection ends early", Reply::Raw(cut.into_bytes())),
        ("truncated: half of the document", Reply::status(200, &Reply::good().body()[..100])),
        ("10 MB", Reply::status(200, large(10 << 20))),
        ("10 MB that are not announced", Reply::Raw(unannounced.into_bytes())),
        ("300 KB", Reply::status(200, large(300 << 10))),
        ("no HTTP", Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        ("a connection that closes at once", Reply::Raw(Vec::new())),
        ("empty set", Reply::json(200, &json!({ "keys": [] }))),
        ("no set", Reply::json(200, &json!({}))),
        ("no body", Reply::status(204, "")),
        (OTHER_KEYS, Reply::json(200, &json!({ "keys": [{ "kty": "EC", "kid": KID, "crv": "P-256" }] }))),
    ]
}

/// The answers that hold a usable set: name, answer, who signs the token, and what it gets, whatever is cached.
fn usable() -> Vec<(&'static str, Reply, &'static TestKey, Verdict)> {
    let typed = |content_type: &str| Reply::status(200, Reply::good().body()).with("content-type", content_type);
    let forged = Refused(Reason::TokenInvalidSignature);
    vec![
        ("wrong content type: text/plain", typed("text/plain"), &KEY, SignedIn),
        ("wrong content type: text/html", typed("text/html"), &KEY, SignedIn),
        ("wrong content type: application/octet-stream", typed("application/octet-stream"), &KEY, SignedIn),
        ("duplicate kid, token by the last", Reply::keys(&[(&OTHER, KID), (&KEY, KID)]), &KEY, SignedIn),
        ("duplicate kid, token by the first", Reply::keys(&[(&KEY, KID), (&OTHER, KID)]), &KEY, forged),
        ("key replaced with same kid, token by the new one", Reply::keys(&[(&OTHER, KID)]), &OTHER, SignedIn),
        ("key replaced with same kid, token by the old one", Reply::keys(&[(&OTHER, KID)]), &KEY, forged),
    ]
}

#[tokio::test]
async fn each_fault_of_the_key_source_has_its_result() {
    let useless = useless().into_iter().map(|(name, reply)| {
        let in_exact = if name == OTHER_KEYS { Refused(Reason::TokenVerificationFailed) } else { Outage };
        (name, reply, &*KEY, [Outage, SignedIn, in_exact])
    });
    let usable = usable().into_iter().map(|(name, reply, key, verdict)| (name, reply, key, [verdict; 3]));
    let mut rows = Vec::new();
    for (name, reply, key, expected) in useless.chain(usable) {
        let found = [
            with_nothing_cached(name, &reply, key).await,
            with_keys_cached(name, &reply, key, StrictChoices::strict()).await,
            with_keys_cached(name, &reply, key, StrictChoices::exact()).await,
        ];
        assert_eq!(found, expected, "{name}");
        let [cold, strict, exact] = expected.map(Verdict::shown);
        rows.push(shown(&[name, &cold, &strict, &exact]));
    }
    assert_eq!(rows, documented("each_fault_of_the_key_source_has_its_result"));
}

/// An address cannot begin to fail under a running authenticator in a test. What happens then is tested inside of the library.
#[tokio::test]
async fn each_fault_of_the_way_to_the_key_source_has_its_result() {
    let plain = FakeClerk::start(Reply::good()).await;
    let mut rows = Vec::new();
    for (name, url) in [
        ("TLS error: a certificate that nobody vouches for", untrusted().await),
        ("TLS error: no TLS", plain.url().replace("http://", "https://")),
        ("DNS failure", "http://nobody.invalid".to_owned()),
        ("nobody listens", nobody()),
    ] {
        let setup = Setup::new(impatient(&url));
        assert_eq!(Verdict::of(&setup, &minted(&KEY, NOW)).await, Outage, "{name}");
        assert_eq!(setup.clerk.stats().jwks_failures, 1, "{name}");
        rows.push(shown(&[name, &Outage.shown(), &SignedIn.shown(), &Outage.shown()]));
    }
    assert_eq!(rows, documented("each_fault_of_the_way_to_the_key_source_has_its_result"));
    assert_eq!(plain.hits(), 0, "no secret key goes out without TLS");
}

/// Two clocks that went apart, in seconds since they agreed.
struct Jump {
    name: &'static str,
    ours: i64,
    clerks: i64,
    /// What a token minted by Clerk's clock gets, whatever is cached.
    minted_there: Verdict,
    /// What one minted by our clock gets with keys cached, while the source is down.
    down: Verdict,
}

fn jumps() -> [Jump; 9] {
    const DAY: i64 = 86_400;
    let jump = |name, ours, clerks, minted_there, down| Jump { name, ours, clerks, minted_there, down };
    let early = Refused(Reason::TokenNotActiveYet);
    [
        jump("clock +1 s", 1, 0, SignedIn, SignedIn),
        jump("clock -1 s, as by a leap second", -1, 0, SignedIn, SignedIn),
        jump("clock +60 s", 60, 0, SignedIn, SignedIn),
        jump("clock -60 s", -60, 0, early, SignedIn),
        jump("clock +1 day", DAY, 0, Refused(Reason::TokenExpired), Outage),
        jump("clock -1 day", -DAY, 0, early, SignedIn),
        jump("clock frozen for 5 s", 0, 5, SignedIn, SignedIn),
        jump("clock frozen for 60 s", 0, 60, early, SignedIn),
        jump("clock frozen for a day", 0, DAY, early, SignedIn),
    ]
}

/// With keys that were fetched when the clocks agreed, or without, and with a cache of tokens or without.
async fn apart(jump: &Jump, cached: bool, tokens: usize, reply: Reply) -> (FakeClerk, Setup) {
    let server = FakeClerk::start(Reply::good()).await;
    let mut options = with_keys_of(server.url());
    options.token_cache_entries = tokens;
    let setup = Setup::new(options);
    if cached {
        assert_eq!(Verdict::of(&setup, &minted(&KEY, NOW)).await, SignedIn, "{}", jump.name);
    }
    server.set(reply);
    set(&setup, jump.ours);
    (server, setup)
}

fn set(setup: &Setup, seconds: i64) {
    let now = setup.clock.now();
    let change = NOW + seconds - now.unix_seconds();
    let span = Duration::from_secs(change.unsigned_abs());
    setup.clock.set(if change < 0 { now.minus(span) } else { now.plus(span) });
}

#[tokio::test]
async fn each_jump_of_the_clock_has_its_result() {
    let mut rows = Vec::new();
    for jump in jumps() {
        let name = jump.name;
        let (ours, clerks) = (minted(&KEY, NOW + jump.ours), minted(&KEY, NOW + jump.clerks));
        for (cached, tokens) in [(false, 0), (true, 0), (false, 100), (true, 100)] {
            let (_server, setup) = apart(&jump, cached, tokens, Reply::good()).await;
            assert_eq!(Verdict::of(&setup, &ours).await, SignedIn, "{name}, {cached} {tokens}");
            assert_eq!(Verdict::of(&setup, &clerks).await, jump.minted_there, "{name}, {cached} {tokens}");

            let (server, setup) = apart(&jump, cached, tokens, Reply::status(500, "")).await;
            let down = if cached { jump.down } else { Outage };
            assert_eq!(Verdict::of(&setup, &ours).await, down, "{name}, {cached} {tokens}");
            if !cached {
                assert_eq!(Verdict::of(&setup, &clerks).await, Outage, "{name}: no key, no judgement");
            }
            // As soon as the clock is right again, everything is.
            server.set(Reply::good());
            set(&setup, jump.clerks);
            assert_eq!(Verdict::of(&setup, &clerks).await, SignedIn, "{name}, {cached} {tokens}");
        }
        let [there, down] = [jump.minted_there, jump.down].map(Verdict::shown);
        rows.push(shown(&[name, &there, &SignedIn.shown(), &down, &Outage.shown()]));
    }
    assert_eq!(rows, documented("each_jump_of_the_clock_has_its_result"));
}
