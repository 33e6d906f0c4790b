//! Commands of an operator. Each change is audited as the operator's, with a reason.

use std::fmt::Write;
use std::sync::Arc;

use clap::Subcommand;
use portal_accounts::{
    GlobalSignOut, InboxEntry, ParkedWebhook, ReconcileOptions, ReconcileReport, Reconciler, Tally, Webhooks,
};
use portal_audit::{Caller, Provenance};
use portal_authz::{Job, Principal};
use portal_postgres::PgStore;

use crate::cli::{Failure, SettingsSource, print};
use crate::settings::{Environment, OperatorSettings, Settings, process_environment};
use crate::telemetry;
use crate::wire::{Surroundings, facts, global_sign_out, parked_webhooks, reconciler_of};

#[derive(Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List messages that could not be read or stored, the oldest first, with the reason
    List {
        #[command(flatten)]
        from: SettingsSource,
    },
    /// Read a message again, after what stood in its way was mended
    Replay {
        /// Its id, as `list` shows it
        id: String,
        /// Why, for the audit trail; may be left out in development only
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        from: SettingsSource,
    },
}

#[derive(Subcommand)]
pub(crate) enum SessionsCommand {
    /// Let no session token count that was made until now, whoever has it
    EndAll {
        /// Why, for the audit trail
        #[arg(long, value_parser = reason)]
        reason: String,
        #[command(flatten)]
        from: SettingsSource,
    },
}

#[derive(clap::Args)]
pub(crate) struct ReconcileArgs {
    /// Tell what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove so many records at most that are gone at the provider; unless given, a twentieth of what is known
    #[arg(long, value_name = "N")]
    max_removals: Option<usize>,
    /// Why, for the audit trail; may be left out in development, and for a dry run
    #[arg(long, value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    from: SettingsSource,
}

/// Whether a reason must be given.
#[derive(Clone, Copy)]
pub(crate) enum Reasons {
    Required,
    /// In development: an operator without one gets this.
    Supplied(&'static str),
}

impl Reasons {
    /// Where no settings of a production server are given, there is nobody to explain oneself to.
    pub(crate) fn of(from: &SettingsSource) -> Self {
        if is_development(from, &process_environment()) { Self::Supplied("development") } else { Self::Required }
    }

    pub(crate) fn caller(self, given: Option<String>) -> Result<Caller, Failure> {
        match (given, self) {
            (Some(given), _) => Ok(operator(Some(given))),
            (None, Self::Supplied(reason)) => Ok(operator(Some(reason.to_owned()))),
            (None, Self::Required) => Err("say why, for the audit trail: --reason \"…\"".into()),
        }
    }
}

/// Whether the development server is meant, because nothing else was given.
fn is_development(from: &SettingsSource, environment: &Environment) -> bool {
    cfg!(feature = "dev") && from.config.is_none() && !environment.is_for_production()
}

/// The operator's settings: given ones, or those of the development database where nothing is given.
pub(crate) async fn settings(from: &SettingsSource) -> Result<OperatorSettings, Failure> {
    let environment = process_environment();
    #[cfg(feature = "dev")]
    if is_development(from, &environment) {
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

pub(crate) async fn reconcile(arguments: ReconcileArgs) -> Result<(), Failure> {
    let (settings, reasons) = (whole_settings(&arguments.from).await?, Reasons::of(&arguments.from));
    telemetry::start(&settings.log);
    print(&compare(arguments, &reconciler_of(&settings, &Surroundings::default())?, reasons).await?)
}

/// Runs `portal reconcile …`; `arguments` begins after `reconcile`.
pub async fn run_reconcile(arguments: &[&str], reconciler: &Reconciler) -> Result<String, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ReconcileArgs,
    }
    let line = <Line as clap::Parser>::try_parse_from(["reconcile"].iter().chain(arguments))?;
    compare(line.arguments, reconciler, Reasons::Required).await
}

async fn compare(arguments: ReconcileArgs, reconciler: &Reconciler, reasons: Reasons) -> Result<String, Failure> {
    let ReconcileArgs { dry_run, max_removals, reason, .. } = arguments;
    let caller = if dry_run { operator(reason) } else { reasons.caller(reason)? };
    let options = ReconcileOptions { dry_run, most_removals: max_removals };
    Ok(told(&reconciler.run(&caller, options).await?))
}

/// The settings of a server, for what needs the identity provider too.
pub(crate) async fn whole_settings(from: &SettingsSource) -> Result<Settings, Failure> {
    let environment = process_environment();
    #[cfg(feature = "dev")]
    if is_development(from, &environment) {
        return crate::dev::server_settings(&environment).await;
    }
    std::future::ready(Ok(Settings::load(from.config.as_deref(), &environment)?)).await
}

/// A report as a person reads it.
fn told(report: &ReconcileReport) -> String {
    let mut text = String::new();
    let mut line = |what: &str, tally: &Tally| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{what:<14}{:>9}{:>9}{:>9}", tally.read, tally.changed, tally.gone);
    };
    line("people", &report.users);
    line("organizations", &report.organizations);
    line("members", &report.memberships);
    let mut text = format!("{:<14}{:>9}{:>9}{:>9}\n{text}", "", "READ", "CHANGED", "GONE");
    for difference in &report.differences {
        let _ = writeln!(text, "  {difference}");
    }
    if report.unusable > 0 {
        let _ = writeln!(text, "{} records could not be used (see the log); nothing was removed", report.unusable);
    }
    if let Some(missing) = report.too_many_missing {
        let _ = writeln!(
            text,
            "{missing} records are missing at the provider, more than is believed; nothing was removed. If that is right, allow \
             it: --max-removals {missing}"
        );
    }
    for left_out in &report.left_out {
        let _ = writeln!(text, "{left_out} cannot be read at the provider and is left out (see the log)");
    }
    if report.unusable > 0 || report.too_many_missing.is_some() || !report.left_out.is_empty() {
        text.push_str("the comparison is not finished\n");
        return text;
    }
    text.push_str(match (report.dry_run, report.complete, report.drift()) {
        (true, _, 0) => "nothing would change\n",
        (true, _, _) => "dry run: nothing was changed\n",
        (false, false, _) => "went on where the last scan stopped; what is gone is looked for by the next one\n",
        (false, true, 0) => "all is as the provider has it\n",
        (false, true, _) => "all is as the provider has it now\n",
    });
    text
}

pub(crate) async fn webhooks(command: WebhooksCommand) -> Result<(), Failure> {
    let (WebhooksCommand::List { from } | WebhooksCommand::Replay { from, .. }) = &command;
    let (settings, reasons) = (settings(from).await?, Reasons::of(from));
    telemetry::start(&settings.log);
    let store = Arc::new(PgStore::new(&settings.database)?);
    let webhooks = parked_webhooks(store, facts(settings.role_map, &Surroundings::default()));
    print(&manage_webhooks(command, &webhooks, reasons).await?)
}

/// Runs `portal webhooks …` on the given messages; `arguments` begins after `webhooks`.
pub async fn run_webhooks(arguments: &[&str], webhooks: &Webhooks) -> Result<String, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: WebhooksCommand,
    }
    let line = <Line as clap::Parser>::try_parse_from(["webhooks"].iter().chain(arguments))?;
    manage_webhooks(line.command, webhooks, Reasons::Required).await
}

async fn manage_webhooks(command: WebhooksCommand, webhooks: &Webhooks, reasons: Reasons) -> Result<String, Failure> {
    match command {
        WebhooksCommand::List { .. } => {
            let parked = webhooks.parked(&operator(None)).await?;
            if parked.is_empty() {
                return Ok("nothing is put aside\n".to_owned());
            }
            let mut text = format!("{:<32}  {:<32}  {:<27}  REASON\n", "ID", "KIND", "RECEIVED");
            for ParkedWebhook { entry: InboxEntry { id, kind, received_at }, reason } in parked {
                writeln!(text, "{id:<32}  {kind:<32}  {:<27}  {reason}", received_at.to_string())?;
            }
            Ok(text)
        }
        WebhooksCommand::Replay { id, reason, .. } => {
            webhooks.replay(&reasons.caller(reason)?, &id).await?;
            Ok(format!("replayed {id}\n"))
        }
    }
}

pub(crate) async fn sessions(command: SessionsCommand) -> Result<(), Failure> {
    let SessionsCommand::EndAll { from, .. } = &command;
    let settings = settings(from).await?;
    telemetry::start(&settings.log);
    let store = Arc::new(PgStore::new(&settings.database)?);
    print(&end_sessions(command, &global_sign_out(store, facts(settings.role_map, &Surroundings::default()))).await?)
}

/// Runs `portal sessions …`; `arguments` begins after `sessions`.
pub async fn run_sessions(arguments: &[&str], sign_out: &GlobalSignOut) -> Result<String, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: SessionsCommand,
    }
    let line = <Line as clap::Parser>::try_parse_from(["sessions"].iter().chain(arguments))?;
    end_sessions(line.command, sign_out).await
}

async fn end_sessions(command: SessionsCommand, sign_out: &GlobalSignOut) -> Result<String, Failure> {
    let SessionsCommand::EndAll { reason, .. } = command;
    let before = sign_out.end_all(&operator(Some(reason))).await?;
    Ok(format!("no session token counts that was made before {before}\n"))
}

/// The person at this command line. Operators act here only; there is no operator login over HTTP.
pub(crate) fn operator(reason: Option<String>) -> Caller {
    Caller { principal: Principal::System(Job::Operator), provenance: Provenance { reason, ..Provenance::default() } }
}

/// Bounds what goes into the audit trail.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=500 => Ok(text.to_owned()),
        _ => Err("a reason has 1 to 500 characters".to_owned()),
    }
}
