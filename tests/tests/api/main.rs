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
mod gateway_feed;
mod idempotency;
mod key_answers;
mod key_ends;
mod key_management;
mod key_rates;
mod keys;
mod known_keys;
mod limits;
mod logs;
mod memberships;
mod operations;
mod organizations;
mod outage_hour;
mod outages;
mod pages;
mod profile;
mod replicas;
mod revocation_status;
mod sameness;
mod secret_scanning;
mod services;
mod sessions;
mod settings;
mod sign_ins;
mod synchronization;
mod tokens;
mod tour;
mod webhooks;
