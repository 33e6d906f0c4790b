-- Looks at every event, while events are read and written.

ALTER TABLE audit_events VALIDATE CONSTRAINT audit_events_actor_kind_known;
