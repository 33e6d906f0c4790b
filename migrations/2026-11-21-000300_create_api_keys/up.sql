-- Logical keys, the digests of their secrets, and where to find a secret by its public part.

CREATE TABLE api_keys (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    environment text NOT NULL,
    made_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT api_keys_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT api_keys_made_by_fkey FOREIGN KEY (made_by) REFERENCES users (id),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_environment_known CHECK (environment IN ('live', 'test')),
    CONSTRAINT api_keys_revision_positive CHECK (revision > 0)
);

-- Not unique: a unique index would have to hold account_id, which the reader of one key does not know yet.
CREATE INDEX api_keys_id_idx ON api_keys (id);
CREATE INDEX api_keys_made_by_idx ON api_keys (made_by);

CREATE TABLE key_locator (
    kid text NOT NULL,
    account_id uuid NOT NULL,
    CONSTRAINT key_locator_pkey PRIMARY KEY (kid),
    CONSTRAINT key_locator_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id)
);

CREATE INDEX key_locator_account_id_idx ON key_locator (account_id);

CREATE TABLE api_key_secrets (
    account_id uuid NOT NULL,
    kid text NOT NULL,
    key_id uuid NOT NULL,
    digest bytea NOT NULL,
    pepper_version smallint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT api_key_secrets_pkey PRIMARY KEY (account_id, kid),
    CONSTRAINT api_key_secrets_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT api_key_secrets_key_fkey FOREIGN KEY (account_id, key_id) REFERENCES api_keys (account_id, id),
    CONSTRAINT api_key_secrets_kid_fkey FOREIGN KEY (kid) REFERENCES key_locator (kid),
    CONSTRAINT api_key_secrets_kid_shape CHECK (kid ~ '^[0-9A-Za-z]{12}$'),
    CONSTRAINT api_key_secrets_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT api_key_secrets_pepper_version_positive CHECK (pepper_version > 0)
);

CREATE INDEX api_key_secrets_key_idx ON api_key_secrets (account_id, key_id);
CREATE INDEX api_key_secrets_kid_idx ON api_key_secrets (kid);
