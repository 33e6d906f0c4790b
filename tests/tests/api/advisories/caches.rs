//! What a cache between may keep.

use e2e::Answer;
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::edge::routes;
use e2e::world::World;

/// A cache that many people share, as RFC 9111 lets one be.
#[derive(Default)]
struct SharedCache(Vec<Stored>);

struct Stored {
    path: String,
    varying: Vec<(String, String)>,
    answer: Answer,
}

impl SharedCache {
    fn keep(&mut self, path: &str, request: &HeaderMap, answer: &Answer) {
        let all = |name| {
            let values = answer.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",").to_lowercase()
        };
        let (control, vary): (String, String) = (all("cache-control"), all("vary"));
        let forbidden = ["no-store", "private", "no-cache"].iter().any(|word| control.contains(word));
        // With credentials, only what says so may be kept (section 3.5).
        let shared = !request.contains_key("authorization") || control.contains("public");
        if forbidden || vary.contains('*') || !shared {
            return;
        }
        let varying = vary.split(',').map(|name| (name.trim().to_owned(), value(request, name.trim()))).collect();
        self.0.push(Stored { path: path.to_owned(), varying, answer: answer.clone() });
    }

    fn find(&self, path: &str, request: &HeaderMap) -> Option<&Answer> {
        let fits = |stored: &&Stored| {
            stored.path == path && stored.varying.iter().all(|(name, kept)| value(request, name) == *kept)
        };
        self.0.iter().find(fits).map(|stored| &stored.answer)
    }
}

fn value(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// CVE-2025-64762 and CVE-2025-48947 (authenticated replies cached): no cache hands one person's answer to another.
#[tokio::test(flavor = "multi_thread")]
async fn t09_a_shared_cache_never_hands_over_anybodys_answer() {
    let world = World::new().await;
    let portal = &world.portal;
    let mut cache = SharedCache::default();
    let browser = |name: &str| format!("__clerk_db_jwt=dvb_1; __client_uat=1; __session={}", portal.token(name));
    let (mut private, mut kept) = (0, 0);
    for person in ["alice", "stranger", ""] {
        for (method, route) in routes(portal).iter().filter(|(method, _)| method == "GET") {
            let path = world.fill(route);
            for with_cookie in [false, true] {
                let request = portal.request(method.parse().unwrap(), &path);
                let request = match (person, with_cookie) {
                    ("", _) => request,
                    (_, true) => request.header("Cookie", browser(person)),
                    (_, false) => request.bearer_auth(portal.token(person)),
                };
                let sent = request.try_clone().unwrap().build().unwrap().headers().clone();
                let answer = portal.send(request).await;
                let public = answer.header("cache-control").starts_with("public");
                let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
                let varies = |name: &str| vary.iter().any(|vary| vary.split(',').any(|varying| varying.trim() == name));
                assert!(varies("Cookie") && varies("Authorization"), "{path}: {answer:?}");
                assert!(
                    !public || route.starts_with("/assets/") && answer.headers.get("set-cookie").is_none(),
                    "{path}"
                );
                if !public {
                    private += 1;
                    assert_eq!(answer.header("cache-control"), "private, no-store", "{path}: {answer:?}");
                }
                if let Some(stored) = cache.find(&path, &sent) {
                    assert_eq!(stored.text, answer.text, "{path}: {person} would get what was somebody else's");
                }
                cache.keep(&path, &sent, &answer);
                kept = cache.0.len();
            }
        }
    }
    // What the provider is to be asked about, with cookies to forget and to set.
    let spec = portal.token_spec("alice");
    let now = spec.claims["iat"].as_i64().unwrap();
    let old = portal.idp.mint().encode(&spec.claim("exp", now - 60).claim("iat", now - 120).claim("nbf", now - 130));
    let request = portal.request(Method::GET, "/portal").header("accept", "text/html");
    let request = request.header("cookie", format!("__clerk_db_jwt=dvb_1; __client_uat=1; __session={old}"));
    let handshake = portal.send(request).await;
    assert_eq!(handshake.status, 307, "{handshake:?}");
    assert!(handshake.header("cache-control").contains("no-store"), "{handshake:?}");
    assert!(private > 50 && kept > 0, "{private} answers are nobody else's, {kept} are for all");
}
