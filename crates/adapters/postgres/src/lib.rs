//! Every store of the program, on PostgreSQL 15 or newer.
//!
//! [`PgStore`] implements all ports. Nothing outside this crate knows SQL, a table or a constraint name.

mod activity;
mod canary;
mod connect;
mod demands;
mod error;
mod feed;
mod migrate;
mod peppers;
mod pool;
mod prepared;
mod reader;
mod repo;
mod row;
mod schema;
#[cfg(feature = "testing")]
mod statements;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod tx;

pub use connect::{InvalidDatabaseUrl, PgTarget};
pub use feed::PgFeed;
pub use migrate::{MigrateError, migrate, pending_migrations};
pub use pool::{ConnectError, PgSettings, PgStore, Probe};
