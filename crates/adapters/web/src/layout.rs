//! What all pages have in common.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_FRAME_OPTIONS};
use actix_web::{HttpRequest, HttpResponse};
use maud::{DOCTYPE, Markup, html};
use portal_http_kit::Problem;

/// Nothing but what this server sends; no script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A page as an answer.
pub(crate) fn page(title: &str, content: &Markup) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    protect(&mut response);
    response.content_type("text/html; charset=utf-8").body(document(title, content).into_string())
}

/// An error as a page. It says no more than the error's title: details are for programs.
pub(crate) fn error_page(problem: Problem, req: &HttpRequest) -> HttpResponse {
    let mut response = problem.respond_with_page(req, |problem, request_id| {
        let content = html! {
            h1 { (problem.title()) }
            p { "Something went wrong on the way to this page. " a href="" { "Try again" } "." }
            p.soft { "Request " code { (request_id) } }
        };
        document(problem.title(), &content).into_string()
    });
    for (name, value) in protection() {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The one stylesheet.
pub(crate) fn style() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("cache-control", "public, max-age=300"))
        .content_type("text/css; charset=utf-8")
        .body(STYLE)
}

fn protect(response: &mut actix_web::HttpResponseBuilder) {
    for header in protection() {
        response.insert_header(header);
    }
}

fn protection() -> [(HeaderName, &'static str); 4] {
    [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    ]
}

fn document(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Portal" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/assets/portal.css";
            }
            body {
                header { a href="/portal" { "Portal" } }
                main { (content) }
            }
        }
    }
}
