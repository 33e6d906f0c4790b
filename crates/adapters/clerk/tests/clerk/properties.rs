//! What holds for every request, whatever is in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use portal_clerk::{
    AcceptsToken, AuthStatus, AuthenticateRequestOptions, ClerkOptions, InstanceType, PublishableKey, RequestParts,
    RequestState, SatelliteOptions, StrictChoices,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use url::Url;

use crate::browsing::{Asked, LIVE_SUFFIX, PAGE, TEST_SUFFIX, production, verdict};
use crate::minting::{KEY, NOW, OTHER, claims, header};
use crate::setup::{Setup, session, with_public_key};

/// Names that mean something to some instance, and names that nearly do.
const NAMES: [&str; 22] = [
    "__session",
    "__session_naoXFJnI",
    "__session_l2OS3d9k",
    "__session_other",
    "__client_uat",
    "__client_uat_naoXFJnI",
    "__client_uat_l2OS3d9k",
    "__refresh",
    "__refresh_naoXFJnI",
    "__refresh_l2OS3d9k",
    "__clerk_db_jwt",
    "__clerk_db_jwt_naoXFJnI",
    "__clerk_db_jwt_l2OS3d9k",
    "__clerk_handshake",
    "__clerk_handshake_nonce",
    "__clerk_redirect_count",
    "__clerk_redirect_url",
    "__clerk_synced",
    "__clerk_help",
    "__dev_session",
    "__Session",
    "",
];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("{error}");
    }
}

/// Instances that differ in everything that the cookie path asks about, and whether they send a browser to known places only.
fn instances() -> Vec<(Setup, bool)> {
    let exact = |mut options: ClerkOptions| {
        options.choices = StrictChoices::exact();
        options
    };
    let satellite = |mut options: ClerkOptions| {
        options.satellite = Some(SatelliteOptions {
            domain: Some("portal.example".into()),
            sign_in_url: Some("https://clerk.example.com/sign-in".into()),
            auto_sync: true,
        });
        options
    };
    let sites = |mut options: ClerkOptions| {
        options.authorized_parties = vec!["https://portal.example".into()];
        options.organization_sync.organization_patterns = vec!["/orgs/:slug".into(), "/orgs/:slug/(.*)".into()];
        options.organization_sync.personal_account_patterns = vec!["/me".into()];
        options
    };
    let all = [
        sites(production()),
        sites(with_public_key()),
        exact(production()),
        exact(with_public_key()),
        satellite(production()),
        satellite(with_public_key()),
    ];
    let strict = |options: &ClerkOptions| options.choices == StrictChoices::strict();
    all.into_iter()
        .map(|options| (strict(&options), options))
        .map(|(strict, options)| (Setup::new(options), strict))
        .collect()
}

/// Any bytes as a server might hand them over.
fn bytes() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Tokens that no instance accepts, numbers, and noise.
fn value() -> impl Strategy<Value = String> {
    let encoded = |text: &str| {
        let part = STANDARD_NO_PAD.encode(text).replace('+', "-").replace('/', "_");
        format!("{part}.{part}.{part}")
    };
    let known = [
        OTHER.session(&json!({})),
        OTHER.session(&json!({ "iss": 7, "iat": "x", "exp": -1 })),
        session(&json!({ "exp": NOW - 60 })),
        session(&json!({ "nbf": NOW + 60 })),
        session(&json!({ "sub": null })),
        encoded("{}"),
        encoded("{\"iss\":\"https://clerk.example.com\",\"iat\":1e999}"),
    ];
    prop_oneof![
        bytes(),
        "[0-9a-zA-Z._=%-]{0,40}",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        select(known.to_vec()),
    ]
}

fn cookies() -> impl Strategy<Value = String> {
    let cookie = (select(NAMES.to_vec()), value()).prop_map(|(name, value)| format!("{name}={value}"));
    prop::collection::vec(cookie, 0..8).prop_map(|cookies| cookies.join("; "))
}

fn url() -> impl Strategy<Value = String> {
    let query = prop::collection::vec((select(NAMES.to_vec()), value()), 0..4);
    let query = query
        .prop_map(|pairs| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
    prop_oneof![
        (bytes(), bytes()).prop_map(|(path, query)| format!("https://portal.example/{path}?{query}")),
        query.prop_map(|query| format!("https://portal.example/orgs/x?{query}")),
        ("[a-z:/@.]{0,12}", bytes()).prop_map(|(start, rest)| format!("{start}{rest}")),
        Just("https://portal.example//evil.example/x".to_owned()),
    ]
}

/// Mostly with what lets a browser through a handshake, and everything else as it comes.
fn anything() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![4 => Just("GET".to_owned()), 1 => Just("POST".to_owned()), 1 => bytes()];
    let destination = prop_oneof![Just("document".to_owned()), Just("iframe".to_owned()), bytes()];
    let header = (select(RequestParts::RELEVANT_HEADERS.to_vec()), prop_oneof![bytes(), value()]);
    let headers = prop::collection::vec(header, 0..4);
    let authorization = prop::option::weighted(0.3, ("(Bearer |bearer |Basic )?", value()));
    (method, url(), destination, cookies(), headers, authorization).prop_map(
        |(method, url, destination, cookies, headers, authorization)| {
            let asked = Asked { method, url, headers: Vec::new() };
            let asked = asked.header("sec-fetch-dest", &destination).header("cookie", &cookies);
            let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
            match authorization {
                Some((scheme, token)) => asked.header("authorization", &format!("{scheme}{token}")),
                None => asked,
            }
        },
    )
}

/// A response can carry these headers, and they send nobody to a stranger.
fn assert_sound(state: &RequestState, asked: &Asked, known_places_only: bool) -> Result<(), TestCaseError> {
    prop_assert_ne!(state.status(), AuthStatus::SignedIn);
    prop_assert!(state.reason().is_some());
    for (name, value) in state.headers() {
        prop_assert!(value.bytes().all(|byte| byte == b'\t' || matches!(byte, b' '..=b'~')), "{}: {:?}", name, value);
    }
    prop_assert!(state.status() != AuthStatus::Handshake || state.location().is_some());
    if let Some(location) = state.location() {
        let (location, own) = (Url::parse(location).unwrap(), Url::parse(&asked.url).unwrap());
        let clerks = ["clerk.example.com", "clerk.portal.example"].map(Some);
        let known = clerks.contains(&location.host_str()) || location.host_str() == own.host_str();
        prop_assert!(known || !known_places_only, "sent to {}", location);
    }
    Ok(())
}

#[test]
fn any_request_gets_a_verdict_and_none_of_these_signs_in() {
    let (instances, runtime) = (instances(), runtime());
    let machines =
        AuthenticateRequestOptions { accepts_token: AcceptsToken::Any, ..AuthenticateRequestOptions::DOCUMENT };
    let options = [AuthenticateRequestOptions::DOCUMENT, AuthenticateRequestOptions::API, machines];
    let reasons = RefCell::new(BTreeSet::new());
    check(1_000, &(anything(), any::<Index>(), select(options.to_vec())), |(asked, instance, options)| {
        let (instance, known_places_only) = instance.get(&instances);
        let state = runtime.block_on(asked.send_to(instance, &options));
        prop_assert!(options.handshakes || state.location().is_none());
        prop_assert!(options.handshakes || state.headers().iter().all(|(name, _)| name != "set-cookie"));
        reasons.borrow_mut().insert(verdict(&state));
        assert_sound(&state, &asked, *known_places_only)
    });
    let reasons = reasons.into_inner();
    assert!(reasons.len() >= 10, "the requests are too much alike: {reasons:?}");
    assert!(reasons.iter().any(|(status, _)| *status == "handshake"), "{reasons:?}");
}

/// Names and values.
type Cookies = Vec<(String, String)>;

/// Cookies of the representative requests. Each name at most once, so that their order cannot matter.
fn representative(suffix: &str) -> Vec<(&'static str, Cookies)> {
    let (good, expired, forged) =
        (session(&json!({})), session(&json!({ "exp": NOW - 60 })), OTHER.session(&json!({})));
    let foreign = session(&json!({ "iss": "https://clerk.other.com" }));
    let older = session(&json!({ "iat": NOW - 30, "exp": NOW + 30 }));
    let uat = (NOW - 100).to_string();
    let plain = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let suffixed = |name: &str, value: &str| (format!("{name}_{suffix}"), value.to_owned());
    let browser = |mut cookies: Cookies| {
        cookies.push(plain("__clerk_db_jwt", "browser"));
        cookies.push(suffixed("__clerk_db_jwt", "browser"));
        cookies
    };
    vec![
        ("no cookies", Vec::new()),
        ("signed out", browser(vec![plain("__client_uat", "0")])),
        ("signed in", browser(vec![plain("__session", &good), plain("__client_uat", &uat)])),
        ("signed in, suffixed", browser(vec![suffixed("__session", &good), suffixed("__client_uat", &uat)])),
        (
            "signed in, both",
            browser(vec![
                plain("__session", &older),
                plain("__client_uat", &uat),
                suffixed("__session", &good),
                suffixed("__client_uat", &uat),
            ]),
        ),
        (
            "another instance on the domain",
            browser(vec![
                plain("__session", &foreign),
                plain("__client_uat", "0"),
                suffixed("__session", &good),
                suffixed("__client_uat", &uat),
            ]),
        ),
        ("expired", browser(vec![plain("__session", &expired), plain("__client_uat", &uat)])),
        (
            "expired, can be refreshed",
            browser(vec![suffixed("__session", &expired), suffixed("__client_uat", &uat), suffixed("__refresh", "r")]),
        ),
        ("forged", browser(vec![plain("__session", &forged), plain("__client_uat", &uat)])),
        ("only a mark", browser(vec![plain("__client_uat", &uat), plain("__clerk_redirect_count", "1")])),
        ("in a loop", browser(vec![plain("__client_uat", &uat), plain("__clerk_redirect_count", "3")])),
    ]
}

fn line(cookies: &[(String, String)]) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// A production and a development instance, each with its requests and what they get.
struct Known {
    setup: Setup,
    requests: Vec<(&'static str, Cookies, RequestState)>,
}

impl Known {
    fn all(runtime: &Runtime) -> Vec<Self> {
        let of = |options: ClerkOptions, suffix| {
            let setup = Setup::new(options);
            let ask = |(name, cookies): (&'static str, Vec<_>)| {
                let state = runtime.block_on(Asked::page(PAGE).cookies(&line(&cookies)).send(&setup));
                (name, cookies, state)
            };
            let requests = representative(suffix).into_iter().map(ask).collect();
            Self { setup, requests }
        };
        vec![of(production(), LIVE_SUFFIX), of(with_public_key(), TEST_SUFFIX)]
    }
}

/// Cookies that are nobody's business here, some of them by names that look like Clerk's.
fn foreign_cookie() -> impl Strategy<Value = String> {
    let relevant: BTreeSet<_> = NAMES
        .iter()
        .filter(|name| !name.is_empty() && !["__Session", "__session_other", "__refresh"].contains(name))
        .map(|name| (*name).to_owned())
        .collect();
    let near =
        ["__session_other", "__refresh", "__refresh_other", "__Session", "__sessionx", "x__session", "__client_uat_"];
    let name = prop_oneof![select(near.to_vec()).prop_map(str::to_owned), "[!-+\\--:<>-~]{0,12}"];
    let value = prop_oneof![value(), "[^;]{0,20}"].prop_map(|value| value.replace(';', ""));
    let pair = (name, value).prop_filter("not one of the instance's own", move |(name, _)| !relevant.contains(name));
    prop_oneof![4 => pair.prop_map(|(name, value)| format!("{name}={value}")), 1 => "[^;=]{0,12}"]
}

#[test]
fn the_representative_requests_get_what_they_should() {
    let found = Known::all(&runtime());
    let verdicts = |known: &Known| known.requests.iter().map(|(_, _, state)| verdict(state)).collect::<Vec<_>>();
    let expired = |why: &str| ("handshake", format!("session-token-expired-refresh-{why}"));
    let common = [
        ("signed-in", "-".to_owned()),
        ("signed-in", "-".to_owned()),
        ("signed-in", "-".to_owned()),
        ("signed-in", "-".to_owned()),
        expired("non-eligible-no-refresh-cookie"),
        expired("missing-api-client"),
        ("signed-out", "token-invalid-signature".to_owned()),
        ("handshake", "client-uat-but-no-session-token".to_owned()),
        ("signed-out", "client-uat-but-no-session-token".to_owned()),
    ];
    let nobody = ("signed-out", "session-token-and-uat-missing".to_owned());
    assert_eq!(verdicts(&found[0]), [&[nobody.clone(), nobody.clone()], &common[..]].concat());
    let stranger = ("handshake", "dev-browser-missing".to_owned());
    assert_eq!(verdicts(&found[1]), [&[stranger, nobody], &common[..]].concat());
}

#[test]
fn an_irrelevant_cookie_changes_nothing() {
    let runtime = runtime();
    let known = Known::all(&runtime);
    let strategy = (any::<Index>(), any::<Index>(), any::<Index>(), foreign_cookie(), any::<bool>());
    check(600, &strategy, |(instance, request, place, cookie, own_line)| {
        let instance = instance.get(&known);
        let (name, cookies, expected) = request.get(&instance.requests);
        let asked = if own_line {
            let (first, second) = cookies.split_at(place.index(cookies.len() + 1));
            Asked::page(PAGE).cookies(&line(first)).header("cookie", &cookie).cookies(&line(second))
        } else {
            let mut pieces: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pieces.insert(place.index(pieces.len() + 1), cookie);
            Asked::page(PAGE).cookies(&pieces.join("; "))
        };
        prop_assert_eq!(&runtime.block_on(asked.send(&instance.setup)), expected, "{}", name);
        Ok(())
    });
}

#[test]
fn the_order_of_cookies_changes_nothing() {
    let runtime = runtime();
    let known = Known::all(&runtime);
    let order = prop::collection::vec(any::<u32>(), 16);
    let strategy = (any::<Index>(), any::<Index>(), prop::collection::vec(foreign_cookie(), 0..8), order);
    check(400, &strategy, |(instance, request, foreign, order)| {
        let instance = instance.get(&known);
        let (name, cookies, expected) = request.get(&instance.requests);
        let own = cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let mut pieces: Vec<_> = own.chain(foreign).zip(order).collect();
        pieces.sort_by_key(|(_, place)| *place);
        let line: Vec<_> = pieces.into_iter().map(|(piece, _)| piece).collect();
        let state = runtime.block_on(Asked::page(PAGE).cookies(&line.join(";")).send(&instance.setup));
        prop_assert_eq!(&state, expected, "{}", name);
        Ok(())
    });
}

#[test]
fn an_irrelevant_header_changes_nothing() {
    let runtime = runtime();
    let known = Known::all(&runtime);
    let names = [
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "x-clerk-auth-status",
        "x-clerk-auth-reason",
        "cookie2",
        "proxy-authorization",
        "x-authorization",
        "x-user-id",
        "sec-fetch-mode",
        "user-agent",
        "set-cookie",
        "",
    ];
    let name = prop_oneof![select(names.to_vec()).prop_map(str::to_owned), "[A-Za-z-]{1,16}"];
    let name = name.prop_filter("not one that counts", |name| {
        !RequestParts::RELEVANT_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name))
    });
    let strategy = (any::<Index>(), any::<Index>(), name, prop_oneof![value(), cookies()], any::<bool>());
    check(300, &strategy, |(instance, request, name, value, first)| {
        let instance = instance.get(&known);
        let (label, cookies, expected) = request.get(&instance.requests);
        let mut asked = Asked::page(PAGE).cookies(&line(cookies)).header(&name, &value);
        if first {
            asked.headers.rotate_right(1);
        }
        prop_assert_eq!(&runtime.block_on(asked.send(&instance.setup)), expected, "{}", label);
        Ok(())
    });
}

/// Tokens in headers and in cookies, good ones and bad ones, each of them more than once.
fn mixed_requests() -> Vec<Asked> {
    let tokens: Vec<_> = (0..24)
        .map(|number: i64| {
            let jti = number.to_string();
            match number % 8 {
                0 => session(&json!({ "jti": jti, "azp": null })),
                1 => session(&json!({ "jti": jti, "exp": NOW - 60 })),
                2 => OTHER.session(&json!({ "jti": jti })),
                3 => session(&json!({ "jti": jti, "azp": "https://evil.example" })),
                4 => KEY.token(&header(&json!({ "cat": "cl_B7d4PD222AAA" })), &claims(&json!({ "jti": jti }))),
                _ => session(&json!({ "jti": jti, "sid": format!("sess_{number}") })),
            }
        })
        .collect();
    let uat = NOW - 100;
    let both = |token: &String| {
        let page = Asked::page(PAGE);
        let bearer = page.clone().header("authorization", &format!("Bearer {token}"));
        [bearer, page.cookies(&format!("__session={token}; __client_uat={uat}"))]
    };
    let once: Vec<_> = tokens.iter().flat_map(both).collect();
    // Steps without a common divisor with the number of requests bring each of them, in another order each time.
    [1, 5, 7, 11, 13]
        .iter()
        .flat_map(|step| (0..once.len()).map(|at| once[at * step % once.len()].clone()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_answers_equal_those_given_one_by_one() {
    let setup = |token_cache_entries| {
        let mut options = production();
        options.authorized_parties = vec!["https://portal.example".into()];
        options.token_cache_entries = token_cache_entries;
        Setup::new(options)
    };
    let requests = mixed_requests();
    let mut answers = Vec::new();
    let mut misses = Vec::new();
    for entries in [0, 4, 1_000] {
        let (one_by_one, mut found) = (setup(entries), Vec::new());
        for asked in &requests {
            found.push(asked.send(&one_by_one).await);
        }
        answers.push(found);
        misses.push(one_by_one.clerk.stats().cache_misses);
    }
    assert!(misses[1] > misses[2], "four entries are too few for these tokens: {misses:?}");
    assert!(answers[0] == answers[1] && answers[0] == answers[2]);
    let verdicts: BTreeSet<_> = answers[0].iter().map(verdict).collect();
    assert_eq!(verdicts.len(), 5, "{verdicts:?}");
    for entries in [4, 8, 1_000] {
        let shared = Arc::new(setup(entries));
        let mut asking = JoinSet::new();
        for (at, asked) in requests.iter().cloned().enumerate() {
            let shared = Arc::clone(&shared);
            asking.spawn(async move { (at, asked.send(&shared).await) });
        }
        let found = asking.join_all().await;
        assert_eq!(found.len(), requests.len());
        for (at, state) in found {
            assert_eq!(state, answers[0][at], "{:?}", requests[at]);
        }
    }
}

#[test]
fn a_publishable_key_gives_its_host_back() {
    let label = || "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?";
    let host = (prop::collection::vec(label(), 1..4), "[a-z]{2,8}", prop::option::of(1_u16..));
    let punycode = |label: &String| label.starts_with("xn--");
    let host = host.prop_filter("a label that has to be punycode", move |(labels, _, _)| !labels.iter().any(punycode));
    check(500, &(host, any::<bool>(), any::<bool>()), |((labels, end, port), live, padded)| {
        let host = format!("{}.{end}{}", labels.join("."), port.map_or_else(String::new, |port| format!(":{port}")));
        let (prefix, instance_type) =
            if live { ("pk_live_", InstanceType::Production) } else { ("pk_test_", InstanceType::Development) };
        let encode = |text: &str| if padded { STANDARD.encode(text) } else { STANDARD_NO_PAD.encode(text) };
        let text = format!("{prefix}{}", encode(&format!("{host}$")));
        let key = PublishableKey::parse(&text).unwrap();
        prop_assert_eq!((key.frontend_host(), key.instance_type(), key.as_str()), (&*host, instance_type, &*text));
        prop_assert_eq!(key.cookie_suffix().len(), 8);
        prop_assert_eq!(PublishableKey::parse(&format!(" {text}\n")), Ok(key));
        for wrong in [host.clone(), format!("{host}$$")] {
            let text = format!("{prefix}{}", encode(&wrong));
            prop_assert!(PublishableKey::parse(&text).is_err(), "{}", wrong);
        }
        Ok(())
    });
}
