-- Requests that their callers named, so that repeating one makes nothing a second time. Kept for a day.

CREATE TABLE named_requests (
    account_id uuid NOT NULL,
    user_id uuid NOT NULL,
    key text NOT NULL,
    -- SHA-256 of what was asked for; holds no secret.
    fingerprint bytea NOT NULL,
    -- Id of what was made.
    made text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT named_requests_pkey PRIMARY KEY (account_id, user_id, key),
    CONSTRAINT named_requests_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT named_requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT named_requests_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT named_requests_fingerprint_length CHECK (octet_length(fingerprint) = 32)
);

CREATE INDEX named_requests_user_id_idx ON named_requests (user_id);
CREATE INDEX named_requests_at_idx ON named_requests (at);
