//! Repositories, all implemented on the one transaction.

mod accounts;
mod audit;
mod epochs;
mod keys;
mod provider_ids;
mod requests;
mod scans;
mod service_tokens;
mod sightings;
mod signed_heads;
mod unconfirmed;
mod unconfirmed_ends;
mod users;
mod webhooks;
