-- When each service token was last used. Written again and again, in place: no index but the key, and room on every page.

CREATE TABLE service_token_activity (
    token_id uuid NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT service_token_activity_pkey PRIMARY KEY (token_id),
    CONSTRAINT service_token_activity_token_id_fkey FOREIGN KEY (token_id) REFERENCES service_tokens (id)
) WITH (fillfactor = 50);
