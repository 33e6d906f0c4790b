//! Black-box tests: the real program, spoken to over HTTP only.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod accounts;
mod advisories;
mod audit;
mod auth_status;
mod bad_input;
mod cors;
mod coverage;
mod crashes;
mod keys;
mod logs;
mod operations;
mod outage_hour;
mod outages;
mod pages;
mod sessions;
mod settings;
mod synchronization;
mod tokens;
mod tour;
mod webhooks;
