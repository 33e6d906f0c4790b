//! The library from outside: tokens signed by real keys, and a local stand-in for Clerk's Backend API.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod advisories;
mod browsing;
mod cache;
mod conformance;
mod cookie_path;
mod directory;
mod doctor;
mod fault_list;
mod handshake;
mod has;
mod header_path;
mod key_faults;
mod key_freshness;
mod listing;
mod machine_api;
mod machine_jwt;
mod machine_setup;
mod minting;
mod outage;
mod properties;
mod public_key;
mod refresh;
mod server;
mod session_control;
mod setup;
mod svix;
mod verification;
