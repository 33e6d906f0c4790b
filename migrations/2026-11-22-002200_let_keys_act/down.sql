-- What keys did stays in the trail, whose chains would break without it.
ALTER TABLE audit_events
    DROP CONSTRAINT audit_events_actor_kind_known,
    ADD CONSTRAINT audit_events_actor_kind_known
        CHECK (actor_kind IN ('user', 'impersonator', 'agent', 'service', 'system')) NOT VALID;
