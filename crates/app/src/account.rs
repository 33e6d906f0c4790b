//! `portal account …`: what operators repair in accounts.

use clap::Subcommand;
use portal_accounts::Organizations;
use portal_kernel::{AccountId, UserId};

use crate::cli::{Failure, SettingsSource, print};
use crate::operator::{operator, reason, whole_settings};
use crate::telemetry;
use crate::wire::{Surroundings, organizations_of};

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Give an account that lost its owner to a member who is an administrator at the identity provider
    SetOwner {
        /// Which account: acc_…
        account: AccountId,
        /// Which member: usr_…
        user: UserId,
        /// Why, for the audit trail
        #[arg(long, value_parser = reason)]
        reason: String,
        #[command(flatten)]
        from: SettingsSource,
    },
}

pub(crate) async fn run(command: AccountCommand) -> Result<(), Failure> {
    let AccountCommand::SetOwner { from, .. } = &command;
    let settings = whole_settings(from).await?;
    telemetry::start(&settings.log);
    print(&execute(command, &*organizations_of(&settings, &Surroundings::default())?).await?)
}

/// Runs `portal account …` on the given accounts; `arguments` begins after `account`.
pub async fn run_account(arguments: &[&str], organizations: &Organizations) -> Result<String, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: AccountCommand,
    }
    let line = <Line as clap::Parser>::try_parse_from(["account"].iter().chain(arguments))?;
    execute(line.command, organizations).await
}

async fn execute(command: AccountCommand, organizations: &Organizations) -> Result<String, Failure> {
    let AccountCommand::SetOwner { account, user, reason, .. } = command;
    organizations.set_owner(&operator(Some(reason)), account, user).await?;
    Ok(format!("{user} owns {account}\n"))
}
