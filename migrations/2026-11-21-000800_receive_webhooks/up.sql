-- Messages of the identity provider's webhooks. The id is the provider's and the same for every attempt and replay, so that a message
-- takes effect once: its row is written in the transaction of the effect.

CREATE TABLE webhook_inbox (
    id text NOT NULL,
    kind text NOT NULL,
    received_at timestamptz NOT NULL,
    -- Only while the message is parked, with why: what it says could not be read or stored.
    body bytea,
    reason text,
    CONSTRAINT webhook_inbox_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_inbox_parked_whole CHECK ((body IS NULL) = (reason IS NULL))
);

CREATE INDEX webhook_inbox_received_at_idx ON webhook_inbox (received_at);
CREATE INDEX webhook_inbox_parked_idx ON webhook_inbox (received_at) WHERE reason IS NOT NULL;
