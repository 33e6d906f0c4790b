-- Sessions that signed in here, each of which is in the audit trail once, by the identity provider's id.

CREATE TABLE seen_sessions (
    id text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    CONSTRAINT seen_sessions_pkey PRIMARY KEY (id)
);

CREATE INDEX seen_sessions_first_seen_at_idx ON seen_sessions (first_seen_at);
