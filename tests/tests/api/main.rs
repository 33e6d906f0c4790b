//! Black-box tests: the real program, spoken to over HTTP only.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod accounts;
mod advisories;
mod audit;
mod auth_status;
mod bad_input;
mod cors;
mod coverage;
mod keys;
mod logs;
mod memberships;
mod operations;
mod outage_hour;
mod outages;
mod pages;
mod sessions;
mod settings;
mod sign_ins;
mod synchronization;
mod tokens;
mod tour;
mod webhooks;
