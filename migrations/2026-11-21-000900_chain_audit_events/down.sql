-- The chains and their signatures are lost. Effects elsewhere look like effects of ours from then on.

LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE;
LOCK TABLE platform_audit_heads, platform_audit_events, audit_heads, audit_events IN ACCESS EXCLUSIVE MODE;

DROP TABLE platform_audit_signed_heads;
DROP TABLE audit_signed_heads;
DROP TABLE platform_audit_heads;
DROP TABLE audit_heads;

DROP INDEX audit_events_actor_idx;

ALTER TABLE platform_audit_events
    DROP COLUMN closes,
    DROP COLUMN effect,
    DROP COLUMN credential_id,
    DROP COLUMN hash,
    DROP COLUMN seq;

ALTER TABLE audit_events
    DROP COLUMN closes,
    DROP COLUMN effect,
    DROP COLUMN credential_id,
    DROP COLUMN hash,
    DROP COLUMN seq;
