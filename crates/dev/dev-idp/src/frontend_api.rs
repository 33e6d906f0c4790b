//! The part of Clerk's Frontend API that signs somebody in without a script: a form, and the handshake.
//!
//! A real instance gives a browser the result of a handshake by a nonce or a token; here it is always a token.

use actix_web::http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use url::Url;

use crate::error::ApiError;
use crate::people::Person;
use crate::token::random_hex;
use crate::{DevIdp, PATH};

/// The session of this browser at the provider; never sent to the portal.
const CLIENT: &str = "__client";
const KEPT: &str = "SameSite=Lax; Max-Age=31536000";
const GONE: &str = "SameSite=Lax; Max-Age=0";

type Answer = Result<HttpResponse, ApiError>;

/// Where the browser came from, and its token if it has one.
#[derive(Deserialize)]
pub(crate) struct HandshakeQuery {
    redirect_url: String,
    #[serde(rename = "__clerk_db_jwt")]
    dev_browser: Option<String>,
}

/// The fields of the form.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    person: String,
    redirect_url: Option<String>,
}

/// `GET /v1/client/handshake`: sends the browser back with everything that it should know.
pub(crate) async fn handshake(
    request: HttpRequest,
    idp: web::Data<DevIdp>,
    query: web::Query<HandshakeQuery>,
) -> Answer {
    if idp.outage() {
        return Err(ApiError::outage());
    }
    let mut back = own_url(&request, Some(&query.redirect_url))?;
    let known = query.dev_browser.clone().filter(|text| is_dev_browser(text));
    let dev_browser = known.unwrap_or_else(|| format!("dvb_{}", random_hex::<16>()));
    let now = idp.now();
    let (client_uat, session) = match signed_in(&request, &idp) {
        Some(person) => {
            let token = idp.mint().encode(&idp.mint().session(&person, "", now).without_claim("azp"));
            (now.unix_seconds(), format!("__session={token}; Path=/; {KEPT}"))
        }
        None => (0, format!("__session=; Path=/; {GONE}")),
    };
    let directives = [
        format!("__clerk_db_jwt={dev_browser}; Path=/; {KEPT}"),
        format!("__client_uat={client_uat}; Path=/; {KEPT}"),
        session,
    ];
    back.query_pairs_mut().append_pair("__clerk_handshake", &idp.mint().handshake(&directives, now));
    Ok(HttpResponse::TemporaryRedirect().insert_header((LOCATION, back.as_str())).finish())
}

/// `POST /sign-in`: what the form on the provider's page sends.
pub(crate) async fn sign_in(request: HttpRequest, idp: web::Data<DevIdp>, form: web::Form<SignIn>) -> Answer {
    let back = own_url(&request, form.redirect_url.as_deref())?;
    let person = idp.sign_in(&form.person).map_err(|_| ApiError::not_found("Nobody here has this name."))?;
    Ok(HttpResponse::SeeOther()
        .append_header((SET_COOKIE, format!("{CLIENT}={}; Path={PATH}; HttpOnly; {KEPT}", person.session_id)))
        // On a development instance it is the page's script that tells the application so.
        .append_header((SET_COOKIE, format!("__client_uat={}; Path=/; {KEPT}", idp.now().unix_seconds())))
        .insert_header((LOCATION, back.as_str()))
        .finish())
}

/// `POST /sign-out`: ends the session, and forgets it here and in the application.
pub(crate) async fn sign_out(request: HttpRequest, idp: web::Data<DevIdp>) -> HttpResponse {
    if let Some(person) = signed_in(&request, &idp) {
        // It may have ended in the meantime.
        let _ = idp.sign_out(&person.session_id);
    }
    HttpResponse::SeeOther()
        .append_header((SET_COOKIE, format!("{CLIENT}=; Path={PATH}; HttpOnly; {GONE}")))
        .append_header((SET_COOKIE, format!("__client_uat=0; Path=/; {KEPT}")))
        .append_header((SET_COOKIE, format!("__session=; Path=/; {GONE}")))
        .insert_header((LOCATION, PATH))
        .finish()
}

/// The person whose browser this is, with the session of this browser. Only while the session is active.
pub(crate) fn signed_in(request: &HttpRequest, idp: &DevIdp) -> Option<Person> {
    let lines = request.headers().get_all(COOKIE).filter_map(|line| line.to_str().ok());
    let id = lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == CLIENT).then(|| value.trim().to_owned())
    })?;
    // Sessions are forgotten when the provider ends. Those of a first sign-in have fixed ids and come to life again.
    let person = {
        let world = idp.world();
        let owner = world.session(&id).and_then(|session| world.person(&session.user_id));
        let mut person = owner.or_else(|| world.people.iter().find(|person| person.session_id == id))?.clone();
        person.session_id = id;
        person
    };
    idp.touch(&person).then_some(person)
}

/// An address of the program that this provider is mounted in; the portal's start page where none is asked for.
fn own_url(request: &HttpRequest, asked: Option<&str>) -> Result<Url, ApiError> {
    let refused = || ApiError::bad_parameter("redirect_url", "redirect_url must be an address of this program.");
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let base = Url::parse(&format!("http://{host}")).map_err(|_| refused())?;
    let url = base.join(asked.unwrap_or("/portal")).map_err(|_| refused())?;
    if url.origin() == base.origin() && url.username().is_empty() { Ok(url) } else { Err(refused()) }
}

/// It becomes part of a cookie.
fn is_dev_browser(text: &str) -> bool {
    text.starts_with("dvb_") && text.len() <= 64 && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_browser_is_sent_to_the_own_program_only() {
        let request = TestRequest::default().insert_header((HOST, "localhost:8080")).to_http_request();
        let url = |asked| own_url(&request, asked).map(String::from).ok();
        assert_eq!(url(None).as_deref(), Some("http://localhost:8080/portal"));
        assert_eq!(url(Some("/a?b=c")).as_deref(), Some("http://localhost:8080/a?b=c"));
        assert_eq!(url(Some("http://localhost:8080/a")).as_deref(), Some("http://localhost:8080/a"));
        for evil in [
            "http://evil.example",
            "//evil.example/",
            "/\\evil.example",
            "http://localhost:8081/",
            "https://localhost:8080/",
            "http://localhost:8080@evil.example/",
            "http://x@localhost:8080/",
            "javascript:alert(1)",
        ] {
            assert_eq!(url(Some(evil)), None, "{evil}");
        }
    }
}
