//! The command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Settings, process_environment};
use crate::wire::{Surroundings, wire};
use crate::{account, audit, doctor, operator, serve, service_token, telemetry};

/// An error on its way to a person; printed with its causes.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "portal", version, about = "Backend of the customer portal of a hosted inference API")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from, besides the environment.
#[derive(Args, Clone)]
pub(crate) struct SettingsSource {
    /// TOML file with settings; the environment wins over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything locally: private database, sample people, no configuration
    #[cfg(feature = "dev")]
    Dev(crate::dev::DevArgs),
    /// Run the production server
    Serve(SettingsSource),
    /// Apply database migrations; safe to run from every replica
    Migrate(SettingsSource),
    /// Check settings, database and identity provider, and tell how to mend what is wrong
    Doctor(SettingsSource),
    /// Print the OpenAPI document
    Openapi,
    /// Print who may do what
    PolicyMatrix,
    /// Manage the tokens of trusted internal services
    #[command(subcommand)]
    ServiceToken(service_token::ServiceTokenCommand),
    /// Repair accounts
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Compare with all that the identity provider knows, and mend what is missing
    Reconcile(operator::ReconcileArgs),
    /// Sign people out
    #[command(subcommand)]
    Sessions(operator::SessionsCommand),
    /// Look at messages of the identity provider that were put aside
    #[command(subcommand)]
    Webhooks(operator::WebhooksCommand),
    /// Verify, export and sign the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// Runs one command. The exit code is 0 for success, 1 for failure and 2 for a command line that makes no sense.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors for clap, too; it knows which stream and code each wants.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command).await {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", explain(&*failure));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        #[cfg(feature = "dev")]
        Command::Dev(arguments) => crate::dev::run(arguments).await?,
        Command::Serve(from) => production(&from).await?,
        Command::Migrate(from) => operator::migrate(&from).await?,
        Command::Doctor(from) => return Box::pin(doctor::run(&from)).await,
        Command::Openapi => print(&portal_http_api::document())?,
        Command::PolicyMatrix => print(&portal_authz::matrix::render())?,
        Command::ServiceToken(command) => service_token::run(command).await?,
        Command::Account(command) => account::run(command).await?,
        Command::Reconcile(arguments) => operator::reconcile(arguments).await?,
        Command::Sessions(command) => operator::sessions(command).await?,
        Command::Webhooks(command) => operator::webhooks(command).await?,
        Command::Audit(command) => return audit::run(command).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn production(from: &SettingsSource) -> Result<(), Failure> {
    let settings = Settings::load(from.config.as_deref(), &process_environment())?;
    telemetry::start(&settings.log);
    let target = settings.database.target.clone();
    let (http, metrics) = (settings.http.clone(), settings.metrics.clone());
    let wired = wire(settings, &Surroundings::default())?;
    // A database that is down now may come up later, and readiness tells; a schema that is behind never heals by itself.
    match portal_postgres::pending_migrations(&target).await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => {
            return Err(format!("the database lacks {} migrations; run: portal migrate", pending.len()).into());
        }
        Err(error) => tracing::warn!(error = explain(&error), "the database does not answer yet"),
    }
    let bound = serve::bind(&wired, &http, &metrics, None)?;
    tracing::info!(http.address = %bound.address, metrics.address = ?bound.metrics_address, "portal is ready");
    Ok(bound.run().await?)
}

/// Prints to standard output. Whoever closed it has read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// An error and its causes, one line each.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
