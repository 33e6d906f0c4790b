//! Text that must never be printed, and the source of randomness.

pub use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// The one source of unpredictable bytes. Implemented by the program (the operating system) and by tests (a counter).
pub trait Entropy: Send + Sync {
    /// Fills the buffer. Never returns with a buffer that is only partly filled.
    fn fill(&self, buffer: &mut [u8]);
}
