//! The adapter on a real server: every test has a database, or a server, of its own.

mod audit_chains;
mod bound_parameters;
mod catalogue;
mod contracts;
mod corrupt;
mod errors;
mod feed;
mod key_feed;
mod key_races;
mod migrations;
mod outages;
mod plans;
mod races;
mod replicas;
mod roles;
mod runtime;
mod schema;
mod support;
mod tampering;
mod tls;
mod transactions;
