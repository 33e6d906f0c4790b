//! Each page: what it requires, and what it shows.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use portal_authz::action::ViewSelf;
use portal_http_kit::{Endpoint, Page, Problem, Public, Routes, return_path};
use serde::Deserialize;
use url::Url;

use crate::Web;
use crate::layout::{error_page, page, style};

/// Query of the sign-in page. Unknown parameters are left alone: providers add theirs.
#[derive(Deserialize)]
struct SignInQuery {
    redirect_url: Option<String>,
}

/// Where somebody arrives who only knows the address of the portal.
async fn home(_: Public) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, "/portal")).finish())
}

/// The first page after signing in.
async fn portal(who: Page<ViewSelf>) -> Result<HttpResponse, Problem> {
    let profile = who.signed_in().known.user.profile();
    let name = profile.first_name.as_deref().or(profile.email.as_deref());
    Ok(page(
        "Overview",
        &html! {
            h1 { @match name { Some(name) => { "Hello, " (name) } None => { "Hello" } } }
            p { "You are signed in. Your account is " code { (who.signed_in().active_account) } "." }
        },
    ))
}

/// Leads to the provider's sign-in page, and back to where the person wanted to go.
async fn sign_in(_: Public, web: web::Data<Web>, query: web::Query<SignInQuery>) -> Result<HttpResponse, Problem> {
    let back = format!("{}{}", web.public_origin, return_path(query.redirect_url.as_deref()));
    let mut target = Url::parse(&web.sign_in_url).map_err(|error| Problem::internal().cause(error))?;
    target.query_pairs_mut().append_pair("redirect_url", &back);
    Ok(page(
        "Sign in",
        &html! {
            h1 { "Sign in" }
            p { "You will be brought back to where you wanted to go." }
            p { a.button href=(target) { "Continue to sign-in" } }
        },
    ))
}

async fn stylesheet(_: Public, _: HttpRequest) -> Result<HttpResponse, Problem> {
    Ok(style())
}

pub(crate) fn routes() -> Routes {
    Routes::default()
        .with(Endpoint::page("/", home, error_page))
        .with(Endpoint::page("/portal", portal, error_page))
        .with(Endpoint::page("/sign-in", sign_in, error_page))
        .with(Endpoint::page("/assets/portal.css", stylesheet, error_page))
}
