-- From where service tokens can be used, when their time is over, and the secret that was the newest before: it goes on for a while.

ALTER TABLE service_tokens
    ADD COLUMN networks cidr[] NOT NULL DEFAULT '{}',
    ADD COLUMN expires_at timestamptz,
    -- When its secret was made, unless the token began with it.
    ADD COLUMN rotated_at timestamptz,
    ADD CONSTRAINT service_tokens_networks_few CHECK (
        cardinality(networks) <= 50 AND array_position(networks, NULL) IS NULL
    ) NOT VALID,
    ADD CONSTRAINT service_tokens_expires_after_creation CHECK (expires_at > created_at) NOT VALID;

-- One at most per token, so that never more than two secrets count.
CREATE TABLE former_service_secrets (
    token_id uuid NOT NULL,
    kid text NOT NULL,
    digest bytea NOT NULL,
    pepper_version smallint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT former_service_secrets_pkey PRIMARY KEY (token_id),
    CONSTRAINT former_service_secrets_token_id_fkey FOREIGN KEY (token_id) REFERENCES service_tokens (id),
    CONSTRAINT former_service_secrets_kid_key UNIQUE (kid),
    CONSTRAINT former_service_secrets_kid_shape CHECK (kid ~ '^[0-9A-Za-z]{12}$'),
    CONSTRAINT former_service_secrets_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT former_service_secrets_pepper_version_positive CHECK (pepper_version > 0)
);
