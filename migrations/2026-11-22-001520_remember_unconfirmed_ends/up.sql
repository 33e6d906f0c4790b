-- Sessions that ended here and may go on at the identity provider, by its ids: whose trail tells of them, how often the provider was asked
-- again, and when it may be asked next. A row goes when the provider confirms the end.

CREATE TABLE unconfirmed_ends (
    account_id uuid NOT NULL,
    session_id text NOT NULL,
    attempts integer NOT NULL,
    try_at timestamptz NOT NULL,
    CONSTRAINT unconfirmed_ends_pkey PRIMARY KEY (account_id, session_id),
    CONSTRAINT unconfirmed_ends_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT unconfirmed_ends_attempts_not_negative CHECK (attempts >= 0)
);

CREATE INDEX unconfirmed_ends_try_at_idx ON unconfirmed_ends (try_at);
CREATE INDEX unconfirmed_ends_session_id_idx ON unconfirmed_ends (session_id);

-- The time of an end that was not confirmed lies years ahead; the trail knows whose session it was.
INSERT INTO unconfirmed_ends (account_id, session_id, attempts, try_at)
SELECT DISTINCT account_id, subject, 0, now()
FROM audit_events
WHERE action = 'session.ended' AND subject IN (
    SELECT id FROM buried_provider_ids WHERE id LIKE 'sess\_%' AND at > now() + interval '1 year'
);
