//! `portal service-token`: what operators do to the tokens of internal services.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use portal_api_keys::{
    ListedServiceToken, Networks, Overlap, ServiceName, ServiceToken, ServiceTokenDraft, ServiceTokenState,
    ServiceTokens,
};
use portal_authz::{Scope, Scopes};
use portal_kernel::{ExposeSecret, SecretString, Timestamp};
use portal_postgres::PgStore;

use crate::cli::{Failure, SettingsSource, print};
use crate::credentials::service_tokens;
use crate::operator::{Reasons, operator, reason, settings};
use crate::telemetry;
use crate::wire::Surroundings;

#[derive(Subcommand)]
pub(crate) enum ServiceTokenCommand {
    /// Make a token and print it, once, alone on the last line
    Create {
        /// Lower-case letters, digits and hyphens
        #[arg(long)]
        name: String,
        /// What it may do, separated by commas: keys:feed, keys:verify, metrics:read
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// From where it can be used, separated by commas: addresses or networks such as 10.0.0.0/8; unless given, everywhere
        #[arg(long, value_delimiter = ',', value_name = "NETWORK")]
        network: Vec<String>,
        /// End it by itself after so long, for example 90d
        #[arg(long, value_name = "SPAN", value_parser = span)]
        expires_in: Option<Duration>,
        /// Why, for the audit trail; may be left out in development only
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// Give the live token of that name a new secret and print it, once, alone on the last line
    Rotate {
        /// Its name
        #[arg(long)]
        name: String,
        /// How long the old secret goes on, for example 7d; 30d at most, and 0s ends it at once
        #[arg(long, value_name = "SPAN", value_parser = span)]
        overlap: Duration,
        /// Why, for the audit trail; may be left out in development only
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// End the token of that name for good, with all of its secrets
    Revoke {
        /// Its name
        #[arg(long)]
        name: String,
        /// Why, for the audit trail; may be left out in development only
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// List all tokens, without their secrets
    List {
        #[command(flatten)]
        from: SettingsSource,
    },
}

pub(crate) async fn run(command: ServiceTokenCommand) -> Result<(), Failure> {
    let (settings, reasons) = (settings(command.source()).await?, Reasons::of(command.source()));
    telemetry::start(&settings.log);
    let store = Arc::new(PgStore::new(&settings.database)?);
    let tokens = service_tokens(store, Arc::new(settings.keys.peppers), &Surroundings::default());
    let Printed { aside, text } = execute(command, &tokens, reasons).await?;
    // Standard error is for the person, standard output for whatever takes the token.
    std::io::Write::write_all(&mut std::io::stderr().lock(), aside.as_bytes())?;
    print(&text)
}

/// What a command says.
pub struct Printed {
    /// To the person, on standard error.
    pub aside: String,
    /// To whatever reads standard output.
    pub text: String,
}

/// Runs `portal service-token …` on the given tokens; `arguments` begins after `service-token`.
pub async fn run_service_token(arguments: &[&str], tokens: &ServiceTokens) -> Result<Printed, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: ServiceTokenCommand,
    }
    let line = <Line as clap::Parser>::try_parse_from(["service-token"].iter().chain(arguments))?;
    execute(line.command, tokens, Reasons::Required).await
}

async fn execute(command: ServiceTokenCommand, tokens: &ServiceTokens, reasons: Reasons) -> Result<Printed, Failure> {
    match command {
        ServiceTokenCommand::Create { name, scope, network, expires_in, reason, .. } => {
            let draft = ServiceTokenDraft {
                name: ServiceName::parse(&name)?,
                scopes: scope.iter().map(|text| Scope::parse(text.trim())).collect::<Result<Scopes, _>>()?,
                networks: Networks::parse(network.iter().map(|text| text.trim()))?,
                expires_at: expires_in.map(|span| tokens.clock.now().plus(span)),
            };
            let (token, text) = tokens.create(&reasons.caller(reason)?, draft).await?;
            Ok(shown_once(&token, &text, "made"))
        }
        ServiceTokenCommand::Rotate { name, overlap, reason, .. } => {
            let (name, overlap) = (ServiceName::parse(&name)?, Overlap::parse(overlap)?);
            let (token, text) = tokens.rotate(&reasons.caller(reason)?, name, overlap).await?;
            Ok(shown_once(&token, &text, "rotated"))
        }
        ServiceTokenCommand::Revoke { name, reason, .. } => {
            let token = tokens.revoke(&reasons.caller(reason)?, ServiceName::parse(&name)?).await?;
            Ok(Printed { aside: String::new(), text: format!("revoked {} ({})\n", token.name, token.id) })
        }
        ServiceTokenCommand::List { .. } => {
            let (tokens, now) = (tokens.list(&operator(None)).await?, tokens.clock.now());
            Ok(Printed { aside: String::new(), text: table(&tokens, now) })
        }
    }
}

fn shown_once(token: &ServiceToken, text: &SecretString, done: &str) -> Printed {
    let mut aside = format!("service token {} ({}) was {done}, with {}", token.name, token.id, list(&token.scopes));
    if !token.networks.is_empty() {
        let _ = write!(aside, ", from {}", places(token));
    }
    if let Some(end) = token.expires_at {
        let _ = write!(aside, ", until {end}");
    }
    if let Some(end) = token.secrets.previous.as_ref().and_then(|secret| secret.expires_at) {
        let _ = write!(aside, "; the secret before ends at {end}");
    }
    aside.push_str("; this one is shown only now:\n");
    Printed { aside, text: format!("{}\n", text.expose_secret()) }
}

fn table(tokens: &[ListedServiceToken], now: Timestamp) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 8]| {
        let [name, kid, state, created, end, used, scopes, networks] = cells;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<24}  {kid:<12}  {state:<8}  {created:<27}  {end:<27}  {used:<27}  {scopes:<24}  {networks}"
        );
    };
    line(["NAME", "KID", "STATE", "CREATED", "ENDS", "LAST USED", "SCOPES", "NETWORKS"]);
    let shown = |moment: Option<Timestamp>, absent: &str| moment.map_or_else(|| absent.to_owned(), |at| at.to_string());
    for ListedServiceToken { token, last_used_at } in tokens {
        let (state, scopes) = (token.state(now), list(&token.scopes));
        let (ends, used) = (shown(token.expires_at, "-"), shown(*last_used_at, "never"));
        let (name, created, places) = (token.name.as_str(), token.created_at.to_string(), places(token));
        line([name, token.secrets.newest.kid.as_str(), state.as_str(), &created, &ends, &used, &scopes, &places]);
        if let Some(previous) = token.secrets.previous.as_ref().filter(|_| state == ServiceTokenState::Rotating) {
            let (created, ends) = (previous.created_at.to_string(), shown(previous.expires_at, "-"));
            line(["", previous.kid.as_str(), "former", &created, &ends, "", "", ""]);
        }
    }
    text
}

fn list(scopes: &Scopes) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(",")
}

fn places(token: &ServiceToken) -> String {
    if token.networks.is_empty() {
        return "everywhere".to_owned();
    }
    token.networks.iter().map(|network| network.to_string()).collect::<Vec<_>>().join(",")
}

/// A number and its unit: `90d`, `12h`, `30m` or `45s`.
fn span(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "must be a number and s, m, h or d, for example 90d";
    let unit = text.chars().next_back().filter(char::is_ascii).ok_or(EXPECTED)?;
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| EXPECTED)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(EXPECTED.to_owned()),
    };
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

impl ServiceTokenCommand {
    fn source(&self) -> &SettingsSource {
        match self {
            Self::Create { from, .. } | Self::Rotate { from, .. } | Self::Revoke { from, .. } | Self::List { from } => {
                from
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        for (text, seconds) in [("0s", 0), ("45s", 45), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "7", "d", "-1d", "1.5h", "7 d", "7w", "7é", "99999999999d"] {
            assert!(span(text).is_err(), "{text:?}");
        }
    }
}
