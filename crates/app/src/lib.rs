//! The program: settings, wiring and subcommands. No SQL, no handler and no business rule lives here.

pub mod account;
pub mod audit;
pub mod cli;
pub mod credentials;
#[cfg(feature = "dev")]
pub mod dev;
mod doctor;
mod head_keys;
mod metrics;
pub mod operator;
pub mod serve;
pub mod service_token;
pub mod settings;
pub mod system;
pub mod telemetry;
pub mod wire;
