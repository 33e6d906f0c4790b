//! For gateways in Rust: whether an API key may be used, decided in process by the code of the portal.
//!
//! [`Gateway`] holds all keys, and follows what changes of them. It decides without I/O while it has heard of the portal a moment ago, and not
//! at all otherwise.
//!
//! ```no_run
//! use portal_gateway::{Gateway, GatewaySettings, KeyUse, Verdict, peppers};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let peppers = peppers([(1, "cGVwcGVyIG9mIHRoZSBleGFtcGxlLCBvZiAzMiBieXRlcw==")])?;
//! let settings = GatewaySettings::new("https://portal.example.com", "portal_svc_…".into(), peppers);
//! let gateway = Gateway::start(settings)?;
//! gateway.ready().await;
//! let wanted = KeyUse { ip: None, scope: None, model: Some("llama-3") };
//! match gateway.decide("cort_live_…", &wanted).await {
//!     Verdict::Allow(holder) => println!("{} of {}", holder.key, holder.account),
//!     refused => println!("{}", refused.status()),
//! }
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod follow;
mod freshness;
mod gateway;
mod http;
mod keys;
mod record;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
mod verdict;

pub use gateway::Gateway;
pub use http::StartError;
pub use portal_api_keys::{Brand, KeyUse, Peppers};
pub use portal_kernel::{AccountId, ApiKeyId, ExposeSecret, SecretString};
pub use settings::{GatewaySettings, InvalidPeppers, peppers};
pub use verdict::{Holder, Refusal, Verdict};
