-- The records of each account, and those of the platform, become a hash chain: seq counts from 1 without gaps, and hash covers the record,
-- its number and the hash before it. The rows that are there are chained here, in the order of their ids; what happened to them before
-- this migration nobody can tell. The encoding is that of portal_audit::chain, once more in SQL; docs/audit.md describes it.

-- In the order of the program, which writes accounts first and its records last, those of the platform before those of accounts. A
-- running server then waits, and never holds what this waits for.
LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE platform_audit_events, audit_events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE audit_events
    ADD COLUMN seq bigint,
    ADD COLUMN hash bytea,
    ADD COLUMN credential_id text,
    ADD COLUMN effect text NOT NULL DEFAULT 'done',
    ADD COLUMN closes uuid;

ALTER TABLE platform_audit_events
    ADD COLUMN seq bigint,
    ADD COLUMN hash bytea,
    ADD COLUMN credential_id text,
    ADD COLUMN effect text NOT NULL DEFAULT 'done',
    ADD COLUMN closes uuid;

CREATE TABLE audit_heads (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (account_id),
    CONSTRAINT audit_heads_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT audit_heads_seq_not_negative CHECK (seq >= 0),
    CONSTRAINT audit_heads_hash_length CHECK (octet_length(hash) = 32)
);

-- One row at most.
CREATE TABLE platform_audit_heads (
    only_row boolean NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT platform_audit_heads_pkey PRIMARY KEY (only_row),
    CONSTRAINT platform_audit_heads_only_row CHECK (only_row),
    CONSTRAINT platform_audit_heads_seq_not_negative CHECK (seq >= 0),
    CONSTRAINT platform_audit_heads_hash_length CHECK (octet_length(hash) = 32)
);

CREATE TABLE audit_signed_heads (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT audit_signed_heads_pkey PRIMARY KEY (account_id, seq),
    CONSTRAINT audit_signed_heads_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT audit_signed_heads_seq_positive CHECK (seq > 0),
    CONSTRAINT audit_signed_heads_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_signed_heads_signature_length CHECK (octet_length(signature) = 64)
);

CREATE TABLE platform_audit_signed_heads (
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT platform_audit_signed_heads_pkey PRIMARY KEY (seq),
    CONSTRAINT platform_audit_signed_heads_seq_positive CHECK (seq > 0),
    CONSTRAINT platform_audit_signed_heads_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT platform_audit_signed_heads_signature_length CHECK (octet_length(signature) = 64)
);

CREATE TRIGGER audit_signed_heads_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_signed_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();
CREATE TRIGGER platform_audit_signed_heads_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON platform_audit_signed_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();

-- The rows that are there.

CREATE FUNCTION audit_field(value bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN value IS NULL THEN '\x00'::bytea ELSE '\x01'::bytea || int8send(octet_length(value)) || value END
$$;

CREATE FUNCTION audit_link(
    previous bytea, number bigint, account uuid, id uuid, at timestamptz, actor_kind text, actor_id text, actor_behind text,
    action text, subject text, request_id uuid, address_prefix text, reason text
) RETURNS bytea STABLE LANGUAGE sql AS $$
    SELECT sha256(
        '\x01'::bytea || previous || int8send(number)
        || audit_field(uuid_send(account))
        || audit_field(uuid_send(id))
        || audit_field(int8send((extract(epoch FROM at) * 1000000)::bigint))
        || audit_field(convert_to(actor_kind, 'UTF8'))
        || audit_field(convert_to(actor_id, 'UTF8'))
        || audit_field(convert_to(actor_behind, 'UTF8'))
        || audit_field(NULL)
        || audit_field(convert_to(action, 'UTF8'))
        || audit_field(convert_to(subject, 'UTF8'))
        || audit_field(convert_to('done', 'UTF8'))
        || audit_field(NULL)
        || audit_field(uuid_send(request_id))
        || audit_field(convert_to(address_prefix, 'UTF8'))
        || audit_field(convert_to(reason, 'UTF8'))
    )
$$;

ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only;
ALTER TABLE platform_audit_events DISABLE TRIGGER platform_audit_events_append_only;

DO $$
DECLARE
    origin CONSTANT bytea := decode(repeat('00', 32), 'hex');
    event record;
    account uuid;
    number bigint;
    head bytea;
BEGIN
    FOR event IN SELECT * FROM audit_events ORDER BY account_id, id LOOP
        IF account IS DISTINCT FROM event.account_id THEN
            account := event.account_id;
            number := 0;
            head := origin;
        END IF;
        number := number + 1;
        head := audit_link(head, number, account, event.id, event.at, event.actor_kind, event.actor_id, event.actor_behind,
            event.action, event.subject, event.request_id, event.address_prefix, event.reason);
        UPDATE audit_events SET seq = number, hash = head WHERE account_id = account AND id = event.id;
    END LOOP;

    number := 0;
    head := origin;
    FOR event IN SELECT * FROM platform_audit_events ORDER BY id LOOP
        number := number + 1;
        head := audit_link(head, number, NULL, event.id, event.at, event.actor_kind, event.actor_id, event.actor_behind,
            event.action, event.subject, event.request_id, event.address_prefix, event.reason);
        UPDATE platform_audit_events SET seq = number, hash = head WHERE id = event.id;
    END LOOP;
END
$$;

ALTER TABLE audit_events ENABLE TRIGGER audit_events_append_only;
ALTER TABLE platform_audit_events ENABLE TRIGGER platform_audit_events_append_only;

DROP FUNCTION audit_link(bytea, bigint, uuid, uuid, timestamptz, text, text, text, text, text, uuid, text, text);
DROP FUNCTION audit_field(bytea);

INSERT INTO audit_heads (account_id, seq, hash)
    SELECT DISTINCT ON (account_id) account_id, seq, hash FROM audit_events ORDER BY account_id, seq DESC;
INSERT INTO platform_audit_heads (only_row, seq, hash)
    SELECT true, seq, hash FROM platform_audit_events ORDER BY seq DESC LIMIT 1;

ALTER TABLE audit_events
    ALTER COLUMN seq SET NOT NULL,
    ALTER COLUMN hash SET NOT NULL,
    ALTER COLUMN effect DROP DEFAULT,
    ADD CONSTRAINT audit_events_seq_key UNIQUE (account_id, seq),
    ADD CONSTRAINT audit_events_closes_key UNIQUE (account_id, closes),
    ADD CONSTRAINT audit_events_closes_fkey FOREIGN KEY (account_id, closes) REFERENCES audit_events (account_id, id),
    ADD CONSTRAINT audit_events_seq_positive CHECK (seq > 0),
    ADD CONSTRAINT audit_events_hash_length CHECK (octet_length(hash) = 32),
    ADD CONSTRAINT audit_events_effect_known CHECK (effect IN ('done', 'opened', 'succeeded', 'failed')),
    ADD CONSTRAINT audit_events_closes_one CHECK ((closes IS NOT NULL) = (effect IN ('succeeded', 'failed')));

ALTER TABLE platform_audit_events
    ALTER COLUMN seq SET NOT NULL,
    ALTER COLUMN hash SET NOT NULL,
    ALTER COLUMN effect DROP DEFAULT,
    ADD CONSTRAINT platform_audit_events_seq_key UNIQUE (seq),
    ADD CONSTRAINT platform_audit_events_closes_key UNIQUE (closes),
    ADD CONSTRAINT platform_audit_events_closes_fkey FOREIGN KEY (closes) REFERENCES platform_audit_events (id),
    ADD CONSTRAINT platform_audit_events_seq_positive CHECK (seq > 0),
    ADD CONSTRAINT platform_audit_events_hash_length CHECK (octet_length(hash) = 32),
    ADD CONSTRAINT platform_audit_events_effect_known CHECK (effect IN ('done', 'opened', 'succeeded', 'failed')),
    ADD CONSTRAINT platform_audit_events_closes_one CHECK ((closes IS NOT NULL) = (effect IN ('succeeded', 'failed')));

-- Most members read only what they did themselves.
CREATE INDEX audit_events_actor_idx ON audit_events (account_id, actor_id, seq);
