-- Credentials of trusted internal services. They belong to the platform, not to an account.

CREATE TABLE service_tokens (
    id uuid NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    kid text NOT NULL,
    digest bytea NOT NULL,
    pepper_version smallint NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT service_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT service_tokens_kid_key UNIQUE (kid),
    CONSTRAINT service_tokens_name_shape CHECK (name ~ '^[a-z0-9-]{1,64}$'),
    CONSTRAINT service_tokens_scopes_given CHECK (cardinality(scopes) > 0),
    CONSTRAINT service_tokens_kid_shape CHECK (kid ~ '^[0-9A-Za-z]{12}$'),
    CONSTRAINT service_tokens_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT service_tokens_pepper_version_positive CHECK (pepper_version > 0)
);

-- A name can be used again once its token was revoked.
CREATE UNIQUE INDEX service_tokens_live_name_key ON service_tokens (name) WHERE revoked_at IS NULL;
