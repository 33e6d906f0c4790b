-- When each key was last used. Written again and again, in place: no index but the key, and room on every page.

CREATE TABLE api_key_activity (
    account_id uuid NOT NULL,
    key_id uuid NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT api_key_activity_pkey PRIMARY KEY (account_id, key_id),
    CONSTRAINT api_key_activity_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT api_key_activity_key_id_fkey FOREIGN KEY (account_id, key_id) REFERENCES api_keys (account_id, id)
) WITH (fillfactor = 50);
