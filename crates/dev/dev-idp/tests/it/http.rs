//! The answers over HTTP: shapes, credentials, outages, and who is refused.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::{App, HttpServer, web};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use portal_dev_idp::{DevIdp, MARKER, Organization, Person};
use serde_json::{Value, json};

use crate::client::{backend, get, refusal, send};
use crate::{AZP, idp, now};

#[actix_web::test]
async fn a_minted_token_verifies_under_the_served_key_set() {
    let idp = idp();
    let served = send(&idp, get("/__clerk/.well-known/jwks.json")).await;
    assert_eq!(served.status, StatusCode::OK);
    let keys: JwkSet = serde_json::from_value(served.json()).unwrap();
    let token = idp.session_token(&idp.person("alice").unwrap(), AZP, now());
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.set_issuer(&[idp.instance().issuer()]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "sub"]);
    assert_eq!(jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims["sub"], "user_dev_alice");
    assert_eq!(backend(&idp, "/__clerk/v1/jwks").await.json(), served.json());
}

#[actix_web::test]
async fn the_backend_api_wants_the_secret_key() {
    let idp = idp();
    for path in [
        "/__clerk/v1/jwks",
        "/__clerk/v1/users/user_dev_alice",
        "/__clerk/v1/users/user_dev_alice/organization_memberships",
        "/__clerk/v1/organizations/org_dev_acme",
    ] {
        assert_eq!(backend(&idp, path).await.status, StatusCode::OK, "{path}");
        let missing = send(&idp, get(path)).await.error();
        assert_eq!(missing, refusal(401, "authorization_header_format_invalid"), "{path}");
        let secret = idp.instance().secret_key();
        for wrong in ["Bearer sk_test_wrong".to_owned(), "Bearer ".to_owned(), format!("Bearer {secret}0")] {
            let answer = send(&idp, get(path).insert_header(("authorization", wrong))).await.error();
            assert_eq!(answer, refusal(401, "clerk_key_invalid"), "{path}");
        }
    }
}

#[actix_web::test]
async fn a_user_has_the_fields_that_programs_for_clerk_read() {
    let user = backend(&idp(), "/__clerk/v1/users/user_dev_alice").await.json();
    assert_eq!(user["object"], "user");
    assert_eq!(user["id"], "user_dev_alice");
    assert_eq!(user["first_name"], "Alice");
    let email = &user["email_addresses"][0];
    assert_eq!(user["primary_email_address_id"], email["id"]);
    assert_eq!(email["email_address"], "alice@example.test");
    assert_eq!(email["verification"]["status"], "verified");
    assert_eq!(user["updated_at"], json!(1_767_225_600_000_i64), "milliseconds");
    for field in ["external_id", "image_url", "public_metadata", "banned", "locked", "last_sign_in_at", "created_at"] {
        assert!(user.get(field).is_some(), "{field}");
    }
}

#[actix_web::test]
async fn an_unverified_address_is_told_as_such() {
    let idp = idp();
    idp.add_person(Person { email_verified: false, ..Person::new("zoe") });
    let user = backend(&idp, "/__clerk/v1/users/user_dev_zoe").await.json();
    assert_eq!(user["email_addresses"][0]["verification"]["status"], "unverified");
}

#[actix_web::test]
async fn an_organization_is_found_by_id_and_by_slug() {
    let idp = idp();
    let acme = backend(&idp, "/__clerk/v1/organizations/org_dev_acme").await.json();
    assert_eq!(acme["object"], "organization");
    assert_eq!(acme["name"], "Acme");
    assert_eq!(acme["slug"], "acme");
    assert_eq!(acme["created_by"], "user_dev_alice");
    assert_eq!(acme["members_count"], 4);
    assert_eq!(backend(&idp, "/__clerk/v1/organizations/acme").await.json(), acme);

    idp.update_organization(&Organization { name: "Acme Ltd".to_owned(), ..Organization::acme() });
    assert_eq!(backend(&idp, "/__clerk/v1/organizations/acme").await.json()["name"], "Acme Ltd");
}

#[actix_web::test]
async fn what_does_not_exist_is_answered_in_clerks_words() {
    let idp = idp();
    idp.remove_person("user_dev_victor");
    for path in [
        "/__clerk/v1/users/user_nobody",
        "/__clerk/v1/users/user_dev_victor",
        "/__clerk/v1/users/user_nobody/organization_memberships",
        "/__clerk/v1/users/%22%3Cx",
        "/__clerk/v1/organizations/org_none",
        "/__clerk/v1/elsewhere",
        "/__clerk/elsewhere",
    ] {
        assert_eq!(backend(&idp, path).await.error(), refusal(404, "resource_not_found"), "{path}");
    }
}

#[actix_web::test]
async fn memberships_come_in_pages() {
    let idp = idp();
    let traveller = (0..12).fold(Person::new("zoe"), |person, place| {
        person.member_of(Organization::new(&format!("Club {place:02}"), "user_dev_zoe"), "org:viewer")
    });
    idp.add_person(traveller);
    let page = async |query: &str| {
        let path = format!("/__clerk/v1/users/user_dev_zoe/organization_memberships{query}");
        let body = backend(&idp, &path).await.json();
        assert_eq!(body["total_count"], 12);
        let names = body["data"].as_array().expect("data").iter().map(|item| item["organization"]["name"].clone());
        names.map(|name| name.as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page("").await.len(), 10);
    assert_eq!(page("?limit=500").await.len(), 12);
    assert_eq!(page("?limit=2&offset=5").await, ["Club 05", "Club 06"]);
    assert_eq!(page("?limit=5&offset=10").await, ["Club 10", "Club 11"]);
    assert!(page("?offset=12").await.is_empty());
    for query in ["limit=0", "limit=501", "offset=-1"] {
        let path = format!("/__clerk/v1/users/user_dev_zoe/organization_memberships?{query}");
        assert_eq!(backend(&idp, &path).await.error(), refusal(422, "form_param_value_invalid"), "{query}");
    }
}

#[actix_web::test]
async fn a_membership_names_role_organization_and_person() {
    let path = "/__clerk/v1/users/user_dev_adam/organization_memberships";
    let body = backend(&idp(), path).await.json();
    let membership = &body["data"][0];
    assert_eq!(membership["object"], "organization_membership");
    assert_eq!(membership["role"], "org:admin");
    assert_eq!(membership["role_name"], "Admin");
    assert!(membership["id"].as_str().unwrap().starts_with("orgmem_"));
    assert_eq!(membership["organization"]["id"], "org_dev_acme");
    assert_eq!(membership["organization"]["created_by"], "user_dev_alice");
    assert_eq!(membership["public_user_data"]["user_id"], "user_dev_adam");
    assert_eq!(membership["public_user_data"]["identifier"], "adam@example.test");
}

#[actix_web::test]
async fn an_outage_takes_everything_down_and_requests_are_counted_through_it() {
    let idp = idp();
    let down = idp.clone();
    down.set_outage(true);
    for path in [
        "/__clerk/.well-known/jwks.json",
        "/__clerk/v1/jwks",
        "/__clerk/v1/users/user_dev_alice",
        "/__clerk/v1/users/user_dev_alice/organization_memberships",
        "/__clerk/v1/organizations/org_dev_acme",
    ] {
        assert_eq!(backend(&idp, path).await.error(), refusal(503, "service_unavailable"), "{path}");
    }
    assert_eq!((idp.jwks_requests(), idp.user_requests(), idp.membership_requests()), (2, 1, 1));
    down.set_outage(false);
    assert_eq!(backend(&idp, "/__clerk/v1/jwks").await.status, StatusCode::OK);
    assert_eq!(send(&idp, get("/__clerk/v1/users/user_dev_alice")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!((idp.jwks_requests(), idp.user_requests(), idp.membership_requests()), (3, 2, 1));
}

#[actix_web::test]
async fn a_foreign_host_name_reaches_nothing() {
    let idp = idp();
    let paths = ["/__clerk", "/__clerk/", "/__clerk/.well-known/jwks.json", "/__clerk/v1/jwks", "/__clerk/elsewhere"];
    for path in paths {
        for host in ["portal.example.com", "localhost.example.com:8080", "0.0.0.0:8080", ""] {
            let bearer = format!("Bearer {}", idp.instance().secret_key());
            let request = TestRequest::get()
                .uri(path)
                .insert_header(("host", host))
                .insert_header(("x-forwarded-host", "localhost"))
                .insert_header(("authorization", bearer));
            let answer = send(&idp, request).await;
            assert_eq!(answer.error(), refusal(403, "host_not_allowed"), "{host} {path}");
            assert_eq!(answer.headers.get("x-dev-idp").unwrap(), MARKER);
        }
        let nameless = send(&idp, TestRequest::get().uri(path)).await;
        assert_eq!(nameless.error(), refusal(403, "host_not_allowed"), "{path}");
    }
    assert_eq!(idp.jwks_requests(), 0);
}

#[actix_web::test]
async fn every_host_name_of_a_request_must_be_local() {
    let idp = idp();
    let twice = get("/__clerk").append_header(("host", "portal.example.com"));
    assert_eq!(send(&idp, twice).await.error(), refusal(403, "host_not_allowed"));
    let absolute = get("http://portal.example.com/__clerk");
    assert_eq!(send(&idp, absolute).await.error(), refusal(403, "host_not_allowed"));
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080"] {
        let answer = send(&idp, TestRequest::get().uri("/__clerk").insert_header(("host", host))).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[actix_web::test]
async fn other_sites_cannot_ask_for_the_page() {
    let idp = idp();
    for site in ["cross-site", "same-site", "anything"] {
        let answer = send(&idp, get("/__clerk").insert_header(("sec-fetch-site", site))).await;
        assert_eq!(answer.error(), refusal(403, "cross_site_request"), "{site}");
    }
    for site in ["same-origin", "none"] {
        let answer = send(&idp, get("/__clerk").insert_header(("sec-fetch-site", site))).await;
        assert_eq!(answer.status, StatusCode::OK, "{site}");
    }
}

#[actix_web::test]
async fn the_page_lists_everybody_with_their_command_and_loads_nothing() {
    let idp = idp();
    idp.add_person(Person::new("zoe"));
    for path in ["/__clerk", "/__clerk/"] {
        let page = send(&idp, get(path)).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.headers.get("content-type").unwrap(), "text/html; charset=utf-8");
        assert_eq!(page.headers.get("x-dev-idp").unwrap(), MARKER);
        assert!(page.text.contains(MARKER));
        for name in ["alice", "adam", "edith", "victor", "stranger", "zoe"] {
            assert!(page.text.contains(&format!("cargo run -- dev token {name}<")), "{name}");
            assert!(page.text.contains(&format!("{name}@example.test")), "{name}");
        }
        assert!(!page.text.contains(idp.instance().secret_key()));
        assert!(!page.text.contains("src=") && !page.text.contains("http://") && !page.text.contains("url("));
    }
}

#[actix_web::test]
async fn the_rest_of_the_program_is_left_alone() {
    let idp = idp();
    let answer = send(&idp, TestRequest::get().uri("/outside").insert_header(("host", "portal.example.com"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers.get("x-dev-idp").is_none());
    assert_eq!(send(&idp, get("/__clerkish")).await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn the_publishable_key_names_the_issuer() {
    use base64::Engine;
    let idp = idp();
    let encoded = idp.instance().publishable_key().strip_prefix("pk_test_").unwrap();
    let host = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded).unwrap();
    assert_eq!(host, b"clerk.portal.localhost$");
    assert_eq!(idp.instance().issuer(), "https://clerk.portal.localhost");
    assert!(!encoded.contains(['_', '=']));
    assert!(idp.instance().secret_key().starts_with("sk_test_"));
}

fn over_the_wire(address: SocketAddr, host: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let request = format!("GET /__clerk/.well-known/jwks.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}

#[actix_web::test]
async fn all_workers_of_a_server_share_one_provider() {
    let idp = idp();
    let served = idp.clone();
    let server = HttpServer::new(move || App::new().configure(portal_dev_idp::configure(&served)))
        .workers(2)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    DevIdp::check_bind(address).unwrap();
    let running = server.run();
    let handle = running.handle();
    let client = std::thread::spawn(move || {
        let local: Vec<String> =
            (0..4).map(|_| over_the_wire(address, &format!("localhost:{}", address.port()))).collect();
        (local, over_the_wire(address, "portal.example.com"))
    });
    let stopper = actix_web::rt::spawn(async move {
        let answers = web::block(move || client.join()).await;
        handle.stop(false).await;
        answers
    });
    running.await.unwrap();
    let (local, foreign) = stopper.await.unwrap().unwrap().unwrap();
    for answer in local {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
    }
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    assert_eq!(idp.jwks_requests(), 4);
}
