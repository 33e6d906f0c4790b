//! Black-box tests: the real program, spoken to over HTTP only.

mod accounts;
mod advisories;
mod auth_status;
mod bad_input;
mod coverage;
mod cors;
mod keys;
mod logs;
mod operations;
mod outages;
mod settings;
mod tokens;
mod tour;
