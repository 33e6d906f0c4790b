//! Changes to what exists. Each moves `updated_at` and leaves the events that Clerk sends for it.

mod invitations;
mod organizations;
mod people;
mod sessions;

use std::sync::MutexGuard;

use portal_kernel::Timestamp;
use serde_json::Value;

use crate::DevIdp;
use crate::directory::World;

pub(crate) use invitations::NewInvitation;
pub(crate) use organizations::NewOrganization;
pub(crate) use people::UserUpdate;

/// Several changes that are one to everybody else.
pub(crate) struct Changes<'a> {
    world: &'a mut World,
    now: Timestamp,
    events: Vec<(&'static str, Value)>,
}

impl DevIdp {
    /// What exists, to be read. Nothing else moves in the meantime.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.directory().lock()
    }

    /// Changes what exists, and sends off the events in the order in which things happened.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Changes<'_>) -> T) -> T {
        let now = self.now();
        let mut world = self.world();
        let mut changes = Changes { world: &mut world, now, events: Vec::new() };
        let outcome = change(&mut changes);
        for (kind, data) in changes.events {
            self.webhooks().emit(kind, &data, self.instance(), now);
        }
        outcome
    }
}

impl Changes<'_> {
    pub(crate) fn world(&self) -> &World {
        self.world
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.now.unix_millis()
    }

    /// A moment after `before`, even if the clock stands still.
    fn after(&self, before: i64) -> i64 {
        self.now().max(before + 1)
    }

    fn event(&mut self, kind: &'static str, data: Value) {
        self.events.push((kind, data));
    }
}
