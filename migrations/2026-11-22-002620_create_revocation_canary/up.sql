-- The key that is made and revoked again and again, to measure how long servers go on with a revoked one. One row, used again each time:
-- it belongs to no account and has no secret.

CREATE TABLE revocation_canary (
    one boolean NOT NULL DEFAULT true,
    live_since timestamptz NOT NULL,
    revoked_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT revocation_canary_pkey PRIMARY KEY (one),
    CONSTRAINT revocation_canary_one CHECK (one),
    CONSTRAINT revocation_canary_revision_positive CHECK (revision > 0)
);

INSERT INTO revocation_canary (live_since, revoked_at, revision) VALUES ('epoch', 'epoch', 1);
