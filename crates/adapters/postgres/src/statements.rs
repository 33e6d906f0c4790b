//! Which statements requests run, for tests that compare them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection, AsyncPgConnection};

/// Web workers have threads of their own, which this begins the names of; jobs run elsewhere.
const WEB_WORKER: &str = "actix-server worker";

/// The texts of the statements of a store's connections, without their parameters, in the order in which requests began them.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<Option<Vec<String>>>>);

impl Statements {
    /// Takes note from now on, and of nothing before.
    pub fn start(&self) {
        *self.lock() = Some(Vec::new());
    }

    /// What was noted; nothing more is.
    pub fn finish(&self) -> Vec<String> {
        self.lock().take().unwrap_or_default()
    }

    /// The connection, whose statements are noted here.
    pub(crate) fn of(&self, mut conn: AsyncPgConnection) -> AsyncPgConnection {
        conn.set_instrumentation(self.clone());
        conn
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let InstrumentationEvent::StartQuery { query, .. } = event else { return };
        if !std::thread::current().name().is_some_and(|name| name.starts_with(WEB_WORKER)) {
            return;
        }
        if let Some(noted) = self.lock().as_mut() {
            let text = query.to_string();
            noted.push(text.split(" -- binds: ").next().unwrap_or_default().to_owned());
        }
    }
}
