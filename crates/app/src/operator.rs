//! Commands of an operator. Each change is audited as the operator's, with a reason.

use std::fmt::Write;
use std::sync::Arc;

use clap::Subcommand;
use portal_api_keys::{ServiceName, ServiceTokens};
use portal_audit::{Caller, Provenance};
use portal_authz::{Job, Principal, Scope, Scopes};
use portal_kernel::ExposeSecret;
use portal_postgres::PgStore;

use crate::cli::{Failure, SettingsSource, print};
use crate::settings::{OperatorSettings, process_environment};
use crate::telemetry;
use crate::wire::{Surroundings, service_tokens};

#[derive(Subcommand)]
pub(crate) enum ServiceTokenCommand {
    /// Make a token and print it, once, alone on the last line
    Create {
        /// Lower-case letters, digits and hyphens
        #[arg(long)]
        name: String,
        /// What it may do, separated by commas: keys:verify, metrics:read
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// Why, for the audit trail
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// End the live token of that name for good
    Revoke {
        /// Its name
        #[arg(long)]
        name: String,
        /// Why, for the audit trail
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

/// The operator's settings: given ones, or those of the development database where nothing is given.
pub(crate) async fn settings(from: &SettingsSource) -> Result<OperatorSettings, Failure> {
    let environment = process_environment();
    #[cfg(feature = "dev")]
    if from.config.is_none() && !environment.is_for_production() {
        return crate::dev::operator_settings(&environment).await;
    }
    std::future::ready(Ok(OperatorSettings::load(from.config.as_deref(), &environment)?)).await
}

pub(crate) async fn migrate(from: &SettingsSource) -> Result<(), Failure> {
    let settings = settings(from).await?;
    telemetry::start(&settings.log);
    let applied = portal_postgres::migrate(&settings.database.target).await?;
    let mut text: String = applied.iter().fold(String::new(), |mut text, name| {
        let _ = writeln!(text, "applied {name}");
        text
    });
    if applied.is_empty() {
        text.push_str("nothing to do\n");
    }
    print(&text)
}

pub(crate) async fn service_token(command: ServiceTokenCommand) -> Result<(), Failure> {
    let settings = settings(command.source()).await?;
    telemetry::start(&settings.log);
    let store = Arc::new(PgStore::new(&settings.database)?);
    let tokens = service_tokens(store, Arc::new(settings.keys.peppers), &Surroundings::default());
    let Printed { aside, text } = execute(command, &tokens).await?;
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
    execute(line.command, tokens).await
}

async fn execute(command: ServiceTokenCommand, tokens: &ServiceTokens) -> Result<Printed, Failure> {
    match command {
        ServiceTokenCommand::Create { name, scope, reason, .. } => {
            let name = ServiceName::parse(&name)?;
            let scopes = scope.iter().map(|text| Scope::parse(text.trim())).collect::<Result<Scopes, _>>()?;
            let (token, text) = tokens.create(&operator(reason), name, scopes).await?;
            let (id, name, scopes) = (token.id, &token.name, list(&token.scopes));
            let aside = format!("service token {name} ({id}) with {scopes}; it is shown only now:\n");
            Ok(Printed { aside, text: format!("{}\n", text.expose_secret()) })
        }
        ServiceTokenCommand::Revoke { name, reason, .. } => {
            let token = tokens.revoke(&operator(reason), ServiceName::parse(&name)?).await?;
            Ok(Printed { aside: String::new(), text: format!("revoked {} ({})\n", token.name, token.id) })
        }
        ServiceTokenCommand::List { .. } => {
            let mut text = format!("{:<24}  {:<12}  {:<8}  {:<27}  SCOPES\n", "NAME", "KID", "STATE", "CREATED");
            for token in tokens.list(&operator(None)).await? {
                let state = if token.revoked_at.is_some() { "revoked" } else { "live" };
                let (name, kid, created) = (token.name.as_str(), token.kid.to_string(), token.created_at.to_string());
                writeln!(text, "{name:<24}  {kid:<12}  {state:<8}  {created:<27}  {}", list(&token.scopes))?;
            }
            Ok(Printed { aside: String::new(), text })
        }
    }
}

/// The person at this command line. Operators act here only; there is no operator login over HTTP.
pub(crate) fn operator(reason: Option<String>) -> Caller {
    Caller { principal: Principal::System(Job::Operator), provenance: Provenance { reason, ..Provenance::default() } }
}

/// Bounds what goes into the audit trail.
fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=500 => Ok(text.to_owned()),
        _ => Err("a reason has 1 to 500 characters".to_owned()),
    }
}

fn list(scopes: &Scopes) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(",")
}

impl ServiceTokenCommand {
    fn source(&self) -> &SettingsSource {
        match self {
            Self::Create { from, .. } | Self::Revoke { from, .. } | Self::List { from } => from,
        }
    }
}
