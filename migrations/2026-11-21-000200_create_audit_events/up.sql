-- The audit trail of each account, and that of the platform. Rows are only ever added.

CREATE TABLE audit_events (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    actor_behind text,
    action text NOT NULL,
    subject text NOT NULL,
    request_id uuid,
    address_prefix text,
    reason text,
    CONSTRAINT audit_events_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT audit_events_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT audit_events_actor_kind_known
        CHECK (actor_kind IN ('user', 'impersonator', 'agent', 'service', 'system'))
);

CREATE TABLE platform_audit_events (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    actor_behind text,
    action text NOT NULL,
    subject text NOT NULL,
    request_id uuid,
    address_prefix text,
    reason text,
    CONSTRAINT platform_audit_events_pkey PRIMARY KEY (id),
    CONSTRAINT platform_audit_events_actor_kind_known
        CHECK (actor_kind IN ('user', 'impersonator', 'agent', 'service', 'system'))
);

CREATE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();
CREATE TRIGGER platform_audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON platform_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();
