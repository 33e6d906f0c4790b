//! The page at `/__clerk`: who can sign in here, and the command that does it.
//!
//! Plain HTML without script and without anything loaded from elsewhere.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, ContentType, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::people::Person;
use crate::webhooks::{WebhookCounters, WebhookFaults};
use crate::{DevIdp, MARKER, PATH, frontend_api};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9dbe0; --ground: #fbfbfc; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #edeef0; --soft: #a5a9b2; --line: #363a41; --ground: #141517; --card: #1c1e21; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 3rem 1.25rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 2rem 0 .25rem; font-size: 1.1rem; }
label { display: inline-block; margin: 0 1.25rem .5rem 0; }
input[type=number] { font: inherit; font-size: .875rem; width: 6rem; }
p { margin: 0 0 1.5rem; color: var(--soft); max-width: 44rem; }
.card { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .7rem 1rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: .85rem; font-weight: 500; }
tbody th { font-weight: 600; }
tbody th span { display: block; color: var(--soft); font-size: .85rem; font-weight: 400; }
code { font: .875rem/1.5 ui-monospace, monospace; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.25rem; margin: 1.5rem 0 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
dd code { white-space: normal; }
form { margin: 0; }
button { font: inherit; font-size: .875rem; padding: .25rem .7rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--ground); color: var(--ink); cursor: pointer; white-space: nowrap; }
button:hover { border-color: var(--soft); }
button:focus-visible { outline: 3px solid #3b82f6; outline-offset: 1px; }
";

/// Where the portal wants its person back.
#[derive(Deserialize)]
pub(crate) struct IndexQuery {
    redirect_url: Option<String>,
}

pub(crate) async fn index(request: HttpRequest, idp: web::Data<DevIdp>, query: web::Query<IndexQuery>) -> HttpResponse {
    let signed_in = frontend_api::signed_in(&request, &idp);
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(render(&idp, signed_in.as_ref(), query.redirect_url.as_deref().unwrap_or("/portal")))
}

fn render(idp: &DevIdp, signed_in: Option<&Person>, back: &str) -> String {
    let rows: String = idp.people().iter().map(|person| row(person, back)).collect();
    let state = match signed_in {
        Some(person) => format!(
            "<form method=\"post\" action=\"{PATH}/sign-out\"><p>This browser is signed in as <strong>{}</strong>. \
             <button>Sign out</button></p></form>",
            escape(&person.name)
        ),
        None => String::new(),
    };
    let faults = faults(&idp.webhook_faults(), &idp.webhook_counters());
    let publishable_key = escape(idp.instance().publishable_key());
    let issuer = escape(idp.instance().issuer());
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"generator\" content=\"{MARKER}\">
<title>Local identity provider</title>
<link rel=\"icon\" href=\"data:,\">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Local identity provider</h1>
<p>These people stand in for Clerk users while you develop. Sign in as one of them in this browser, or let the command
print a session token that is good for one minute, and send it as <code>Authorization: Bearer</code>.</p>
{state}
<div class=\"card\">
<table>
<thead><tr><th scope=\"col\">Person</th><th scope=\"col\">Role in Acme</th><th scope=\"col\">Session token</th><th scope=\"col\">This browser</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
{faults}
<dl>
<dt>Publishable key</dt><dd><code>{publishable_key}</code></dd>
<dt>Issuer</dt><dd><code>{issuer}</code></dd>
<dt>Key set</dt><dd><code>/__clerk/.well-known/jwks.json</code></dd>
</dl>
</main>
</body>
</html>
"
    )
}

fn row(person: &Person, back: &str) -> String {
    let role = match person.memberships.iter().find(|held| held.organization.name == "Acme") {
        Some(held) if held.organization.created_by == person.user_id => {
            format!("<code>{}</code>, created it", escape(&held.role))
        }
        Some(held) => format!("<code>{}</code>", escape(&held.role)),
        None => "none".to_owned(),
    };
    let name = escape(&person.name);
    let email = escape(&person.email);
    let back = escape(back);
    format!(
        "<tr><th scope=\"row\">{name}<span>{email}</span></th><td>{role}</td>\
         <td><code>cargo run -- dev token {name}</code></td>\
         <td><form method=\"post\" action=\"{PATH}/sign-in\"><input type=\"hidden\" name=\"person\" value=\"{name}\">\
         <input type=\"hidden\" name=\"redirect_url\" value=\"{back}\"><button>Sign in as {name}</button></form></td></tr>\n"
    )
}

/// The switches of the webhooks, and what has become of the events.
fn faults(faults: &WebhookFaults, counters: &WebhookCounters) -> String {
    let WebhookFaults { duplicate, loss, delay, reorder, seed } = faults;
    let delay = delay.as_millis();
    let checked = if *reorder { " checked" } else { "" };
    let WebhookCounters { events, sent, accepted, lost, duplicated, given_up } = counters;
    format!(
        "<h2>Webhooks</h2>
<p>{events} events, {sent} requests, {accepted} accepted, {given_up} given up; {lost} lost and {duplicated} duplicated on
purpose.</p>
<form method=\"post\" action=\"{PATH}/webhook-faults\">
<label>Duplicates in percent <input type=\"number\" name=\"duplicate\" min=\"0\" max=\"100\" value=\"{duplicate}\"></label>
<label>Loss in percent <input type=\"number\" name=\"loss\" min=\"0\" max=\"100\" value=\"{loss}\"></label>
<label>Delay up to ms <input type=\"number\" name=\"delay_ms\" min=\"0\" value=\"{delay}\"></label>
<label>Seed <input type=\"number\" name=\"seed\" min=\"0\" value=\"{seed}\"></label>
<label><input type=\"checkbox\" name=\"reorder\" value=\"true\"{checked}> Out of order</label>
<button>Set</button>
</form>"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people;

    #[test]
    fn a_row_names_the_role_and_the_command() {
        let alice = row(&people::person("alice").unwrap(), "/");
        assert!(alice.contains("<code>org:admin</code>, created it"), "{alice}");
        assert!(alice.contains("cargo run -- dev token alice<"), "{alice}");
        assert!(row(&people::person("victor").unwrap(), "/").contains("<code>org:viewer</code><"));
        assert!(row(&people::person("stranger").unwrap(), "/").contains("<td>none</td>"));
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let row = row(&Person::new("<b a='\"&"), "/\"><b");
        assert!(row.contains("&lt;b a=&#39;&quot;&amp;"), "{row}");
        assert!(!row.contains("<b ") && !row.contains("><b\""), "{row}");
    }
}
