//! What a request can pretend at the edge: paths, headers, cookies and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use e2e::{Answer, Portal, PortalBuilder};
use futures_util::future::join_all;
use portal_testkit::FixedClock;
use reqwest::Method;
use serde_json::json;

use e2e::world::World;

/// Every route that is served, as the metrics count them: those of the document, and pages.
pub(super) fn routes(portal: &Portal) -> BTreeSet<(String, String)> {
    let metrics = portal.wired.api.metrics.render();
    let label = |line: &str, name: &str| {
        let value = line.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
        Some(value.to_owned())
    };
    let lines = metrics.lines().filter(|line| line.starts_with("portal_http_requests_total{"));
    let routes: BTreeSet<_> = lines.filter_map(|line| Some((label(line, "method")?, label(line, "route")?))).collect();
    let has = |path: &str| routes.iter().any(|(_, route)| route == path);
    assert!(has("/portal") && has("/v1/me") && has("/webhooks/clerk"), "{routes:?}");
    routes
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"))
}

/// Spellings of a path that something between might take for another one.
fn mutations(path: &str) -> Vec<String> {
    let segments: Vec<_> = path[1..].split('/').collect();
    // The root has no first letter to spell differently.
    let (first, rest) = path[1..].split_at_checked(1).unwrap_or_default();
    let encoded = format!("/{}{rest}", first.bytes().next().map(|byte| format!("%{byte:02x}")).unwrap_or_default());
    let mut found = vec![
        path.to_uppercase(),
        format!("/{}{rest}", first.to_uppercase()),
        encoded.clone(),
        encoded.replace('%', "%25"),
        encoded.replace('%', "%2525"),
        format!("http://evil.example{path}"),
        format!("https://portal.example.test{path}"),
        format!("//evil.example{path}"),
        format!("/sign-in/..{path}"),
        format!("/sign-in/..%2f{}", &path[1..]),
        format!("/livez/../..{path}"),
        format!("/livez;{path}"),
        format!("/livez%00{path}"),
        format!("/livez?{path}"),
        format!("{path}?/livez"),
        format!("{path}?redirect=/livez#"),
        path.replace('/', "\\"),
        path.replace('/', "%2f").replacen("%2f", "/", 1),
        path.replace('/', "%252f").replacen("%252f", "/", 1),
        path.replace('/', "/%c0%af").replacen("%c0%af", "", 1),
    ];
    for place in 1..=segments.len() {
        let (before, after) = (segments[..place].join("/"), segments[place..].join("/"));
        let after = if after.is_empty() { after } else { format!("/{after}") };
        for inserted in [
            "/",
            "/.",
            "/..",
            "/x/..",
            ".",
            "..",
            "%2f",
            "%2F",
            "%5c",
            "%00",
            "%0a",
            "%0d%0a",
            "%20",
            "%09",
            "%2e",
            "%2e%2e",
            "%252e",
            ";",
            ";a=b",
            ";/",
            "..;/",
            ".json",
            "%ef%bc%8f",
            "%3f",
            "%23",
            "*",
        ] {
            found.push(format!("/{before}{inserted}{after}"));
        }
    }
    found
}

/// CVE-2026-41248 (route matcher): every spelling of a path has the outcome of the plain one, or is refused.
#[tokio::test(flavor = "multi_thread")]
async fn t02_every_spelling_of_every_path_is_judged_like_the_plain_one_or_refused() {
    let world = World::new().await;
    let portal = &world.portal;
    let mut asked = 0;
    for (method, route) in routes(portal) {
        // Signing out works.
        portal.idp.sign_in("stranger").unwrap();
        let stranger = format!("Bearer {}", portal.token("stranger"));
        let callers: [&[(&str, &[u8])]; 2] = [&[], &[("Authorization", stranger.as_bytes())]];
        let path = world.fill(&route);
        for headers in callers {
            let plain = status(&portal.raw_request(&method, &path, headers).await);
            let targets = mutations(&path);
            for some in targets.chunks(32) {
                let answers = join_all(some.iter().map(|target| portal.raw_request(&method, target, headers))).await;
                for (target, answer) in some.iter().zip(answers) {
                    let found = status(&answer);
                    // What stands before a query is asked for.
                    let to_livez = target.starts_with("/livez?") && matches!(found, 200 | 405);
                    let signed_out = route.ends_with("/sign-out") && found == 401;
                    let allowed = found == plain || matches!(found, 400 | 404);
                    assert!(allowed || to_livez || signed_out, "{method} {target}: {found}, and {plain} for {path}");
                    assert!(!answer.contains("Acme"), "{target}: {answer}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
}

/// Names that something between, or a framework, may believe.
fn internal_looking_headers() -> Vec<String> {
    let owners = [
        "x",
        "x-clerk",
        "x-middleware",
        "x-forwarded",
        "x-original",
        "x-auth",
        "x-internal",
        "x-envoy",
        "x-amzn-oidc",
        "x-goog-iap",
        "cf",
        "x-nextjs",
    ];
    let words = [
        "user",
        "user-id",
        "userid",
        "sub",
        "subject",
        "email",
        "role",
        "roles",
        "groups",
        "session",
        "session-id",
        "account",
        "account-id",
        "org-id",
        "permissions",
        "principal",
        "token",
        "access-token",
        "authenticated",
        "status",
        "admin",
    ];
    let mut names: Vec<_> =
        owners.iter().flat_map(|owner| words.iter().map(move |word| format!("{owner}-{word}"))).collect();
    let own = [
        "x-middleware-subrequest",
        "x-middleware-next",
        "remote-user",
        "ssl-client-verify",
        "ssl-client-s-dn",
        "x-client-cert",
        "x-webauth-user",
    ];
    names.extend(own.map(ToOwned::to_owned));
    names
}

/// CVE-2025-29927 (internal header): no header but the credentials makes anybody somebody.
#[tokio::test(flavor = "multi_thread")]
async fn t04_no_internal_looking_header_makes_anybody_somebody() {
    let portal = Portal::start().await;
    let alice = portal.token("alice");
    let user = portal.get("/v1/me", &alice).await.text_at("/user/clerk_id");
    let stranger = portal.token("stranger");
    let own = portal.get("/v1/me", &stranger).await.json();
    let names = internal_looking_headers();
    assert!(names.len() >= 200, "{}", names.len());
    let bearer = format!("Bearer {alice}");
    let depth = "middleware:middleware:middleware:middleware:middleware";
    for value in [user.as_str(), alice.as_str(), bearer.as_str(), "true", depth] {
        for some in names.chunks(16) {
            let portal = &portal;
            let (own, stranger) = (&own, &stranger);
            join_all(some.iter().map(|name| async move {
                let with = |path: &str| portal.request(Method::GET, path).header(name, value);
                portal.send(with("/v1/me")).await.assert_problem(401, "unauthenticated");
                assert_eq!(portal.send(with("/portal")).await.status, 303, "{name}: {value}");
                assert_eq!(portal.send(with("/metrics")).await.status, 401, "{name}: {value}");
                let status = portal.send(with("/v1/auth/status")).await;
                assert_eq!(status.text_at("/status"), "signed-out", "{name}: {value}");
                assert_eq!(portal.send(with("/v1/me").bearer_auth(stranger)).await.json(), *own, "{name}: {value}");
            }))
            .await;
        }
    }
}

/// What every answer has of its own.
fn comparable(answer: &Answer) -> (u16, BTreeMap<String, Vec<String>>, String) {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in
        answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "ratelimit"))
    {
        headers.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
    }
    let id = answer.header("x-request-id");
    (answer.status.as_u16(), headers, answer.text.replace(id, ""))
}

/// CVE-2026-40575 and its like (forwarded and underscore-alias headers): they change nothing, whoever sends them.
#[tokio::test(flavor = "multi_thread")]
async fn t05_forwarded_headers_and_their_aliases_change_nothing() {
    let untrusted = Portal::start().await;
    let trusted = PortalBuilder::default().set("PORTAL_HTTP__TRUSTED_PROXIES", "127.0.0.1").start().await;
    for portal in [&untrusted, &trusted] {
        let token = portal.token("alice");
        portal.get("/v1/me", &token).await;
        let spec = portal.token_spec("alice");
        let now = spec.claims["iat"].as_i64().unwrap();
        let expired =
            portal.idp.mint().encode(&spec.claim("exp", now - 60).claim("iat", now - 120).claim("nbf", now - 130));
        let cookies = format!("__clerk_db_jwt=dvb_1; __client_uat=1; __session={expired}");
        let ask = async |which: usize, header: Option<(&str, &str)>| {
            let request = match which {
                0 => portal.request(Method::GET, "/v1/me"),
                1 => portal.request(Method::GET, "/v1/me").bearer_auth(&token),
                2 => portal.request(Method::GET, "/portal").header("accept", "text/html"),
                3 => portal.request(Method::GET, "/portal").header("accept", "text/html").header("cookie", &cookies),
                4 => portal.request(Method::GET, "/v1/nothing"),
                _ => portal.request(Method::POST, "/webhooks/clerk"),
            };
            let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            comparable(&portal.send(request).await)
        };
        for which in 0..6 {
            let plain = ask(which, None).await;
            assert_eq!(plain, ask(which, None).await, "nothing of it is new each time");
            for (name, value) in [
                ("X-Forwarded-Uri", "/livez"),
                ("X-Original-URL", "/livez"),
                ("X-Original-URI", "/livez"),
                ("X-Rewrite-URL", "/livez"),
                ("X-Forwarded-Path", "/livez"),
                ("X-Forwarded-Prefix", "/evil"),
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Server", "evil.example"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Port", "1"),
                ("X-Forwarded-Method", "GET"),
                ("X-HTTP-Method-Override", "GET"),
                ("X-Forwarded-User", "user_dev_alice"),
                ("X-Forwarded-Email", "alice@example.test"),
                ("X-Forwarded-Access-Token", &token),
                ("Forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
                ("X_Forwarded_Host", "evil.example"),
                ("X_Forwarded_Proto", "http"),
                ("X_Forwarded_User", "user_dev_alice"),
                ("X_Original_URL", "/livez"),
                ("X-Forwarded_Host", "evil.example"),
                ("X_Clerk_User_Id", "user_dev_alice"),
                ("Authorization_", &token),
                ("X-Host", "evil.example"),
            ] {
                assert_eq!(ask(which, Some((name, value))).await, plain, "{which}, {name}: {value}");
            }
        }
    }
}

/// Values of `Cookie` of which none is a session; some are made of a token that is good.
fn malformed_cookies(token: &str) -> Vec<Vec<u8>> {
    let (half, long) = (&token[..token.len() / 2], vec![b'a'; 9_000]);
    let spoilt = |text: String| text.into_bytes();
    [
        &b"__session"[..],
        b"__session=",
        b"=",
        b";",
        b";;;=;;",
        b"__session=.",
        b"__session=..",
        b"__session=a.b.c",
        b"__session=\xff\xfe\xfd",
        b"__session=%",
        b"__session=%zz",
        b"__session=%00",
        b"__session=\"",
        b"__session=null",
        b"__session=undefined",
        b"__session={}",
        b"__session=[object Object]",
        b"__session=true; __client_uat=x",
        b"\xe2\x80\xa8=1",
        b"__client_uat=99999999999999999999",
        b"__client_uat=-1; __session=x",
        b"__session=e30.e30.",
        b"__session=eyJhbGciOiJub25lIn0.e30.",
        &long,
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain([
        spoilt(format!("__session={half}")),
        spoilt(format!("__session={token}x")),
        spoilt(format!("__session={token}.")),
        spoilt(format!("__session=.{token}")),
        spoilt(format!("__session={}", token.replace('.', ","))),
        spoilt(format!("__Session={token}")),
        spoilt(format!("session={token}")),
        spoilt(format!("__session[]={token}")),
        spoilt(format!("__session%3d{token}")),
    ])
    .collect()
}

/// The same of `Authorization`.
fn malformed_authorizations(token: &str) -> Vec<Vec<u8>> {
    let (half, long) = (&token[..token.len() / 2], vec![b'a'; 9_000]);
    let spoilt = |text: String| text.into_bytes();
    [
        &b""[..],
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer  ",
        b"Bearer .",
        b"Bearer a.b.c",
        b"Bearer null",
        b"Bearer \xff\xfe",
        b"Bearer\ta",
        b"Basic YWxpY2U6YWxpY2U=",
        b"Basic",
        b"Digest username=alice",
        b"Negotiate",
        b"\xff",
        b"Bearer e30.e30.",
        b"Bearer portal_svc_",
        b"Bearer cort_live_",
        &long,
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain([
        spoilt(format!("Bearer {half}")),
        spoilt(format!("Bearer {token}x")),
        spoilt(format!("Bearer {token}.")),
        // What follows a whole token is not looked at, as in Clerk's SDK.
        spoilt(format!("Bearer {half} {token}")),
        spoilt(format!("Bearer, {token}")),
        spoilt(format!("Basic {token}")),
        spoilt(format!("Token {token}")),
    ])
    .collect()
}

/// CVE-2026-25748 (a malformed cookie passed): what cannot be read is nobody, or refused; never somebody, and never an error of ours.
#[tokio::test(flavor = "multi_thread")]
async fn t06_malformed_cookies_and_headers_are_nobody() {
    let world = World::new().await;
    let portal = &world.portal;
    let token = portal.token("alice");
    let (cookies, headers) = (malformed_cookies(&token), malformed_authorizations(&token));
    for (method, route) in routes(portal) {
        let path = world.fill(&route);
        let plain = status(&portal.raw_request(&method, &path, &[]).await);
        let open = matches!(plain, 200..=299);
        let with = |name, value: &Vec<u8>| {
            let (method, path, value) = (method.clone(), path.clone(), value.clone());
            async move { (portal.raw_request(&method, &path, &[(name, &value)]).await, value) }
        };
        let cookies = cookies.iter().map(|cookie| with("Cookie", cookie));
        let answers = join_all(cookies)
            .await
            .into_iter()
            .chain(join_all(headers.iter().map(|value| with("Authorization", value))).await);
        for (answer, sent) in answers {
            let (found, sent) = (status(&answer), String::from_utf8_lossy(&sent).into_owned());
            // Pages send those who are nobody somewhere else; a service's header from a browser, and the provider's without a signature, are refused.
            let nobody = matches!(found, 400 | 401 | 403 | 404 | 303 | 307);
            assert!(nobody || open && found == plain, "{method} {path}, {sent}: {found}, without it {plain}");
            assert!(
                !answer.contains("Hello") && !answer.contains("\"status\":\"signed-in\""),
                "{path}, {sent}: {answer}"
            );
        }
    }
}

/// CVE-2023-36456 and CVE-2026-45364 (spoofed addresses, IPv6 by address): what an untrusted peer writes changes neither record nor limit.
#[tokio::test(flavor = "multi_thread")]
async fn t07_a_spoofed_address_changes_neither_the_trail_nor_the_limits() {
    for (proxies, forwarded, network) in [
        ("", "198.51.100.7", "127.0.0.0/24"),
        ("", "2001:db8::1", "127.0.0.0/24"),
        ("127.0.0.1", "203.0.113.5, 198.51.100.7", "198.51.100.0/24"),
        ("127.0.0.1", "203.0.113.5, ::ffff:198.51.100.7", "198.51.100.0/24"),
        ("127.0.0.1", "203.0.113.5, 2001:db8:1:2::3", "2001:db8:1::/48"),
    ] {
        // Nothing comes back while the clock stands still.
        let clock = Arc::new(FixedClock::default());
        let settings = PortalBuilder::default().clock(&clock).set("PORTAL_HTTP__TRUSTED_PROXIES", proxies);
        let portal = settings.set("PORTAL_LIMITS__ADDRESS_READS_PER_MINUTE", "3").start().await;
        let account = portal.personal_account("stranger").await;
        let path = format!("/v1/accounts/{account}/api-keys");
        let request = portal.request(Method::POST, &path).bearer_auth(portal.token("stranger"));
        let request = request.header("X-Forwarded-For", forwarded).json(&json!({ "name": "x" }));
        assert_eq!(portal.send(request).await.status, 201);
        let recorded = "SELECT address_prefix::text AS text FROM audit_events WHERE action = 'api_key.created'";
        assert_eq!(portal.database.texts(recorded).await.unwrap(), [network], "{proxies}: {forwarded}");

        // Another address in front, or another one of the same /64, is the same caller.
        let mut statuses = Vec::new();
        for number in 1..=4 {
            let last = forwarded.rsplit(", ").next().unwrap();
            let last = if last.starts_with("2001") { format!("2001:db8:1:2::{number}") } else { last.to_owned() };
            let spoofed = format!("192.0.2.{number}, {last}");
            let request = portal.request(Method::GET, "/v1/auth/status").header("X-Forwarded-For", spoofed);
            statuses.push(portal.send(request).await.status.as_u16());
        }
        assert_eq!(statuses.last(), Some(&429), "{proxies}: {forwarded}: {statuses:?}");
    }
}
