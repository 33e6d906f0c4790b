-- A key ends itself, and the trail says so.

ALTER TABLE audit_events
    DROP CONSTRAINT audit_events_actor_kind_known,
    ADD CONSTRAINT audit_events_actor_kind_known
        CHECK (actor_kind IN ('user', 'impersonator', 'agent', 'service', 'api_key', 'system')) NOT VALID;
