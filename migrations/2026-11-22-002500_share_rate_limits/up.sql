-- How replicas share the limits of keys: which replicas there are, and what each tells of the limits that are in demand. Written again and
-- again, in place, and read as a whole. A crash empties both tables; each replica tells everything anew with its next round.

CREATE UNLOGGED TABLE replicas (
    id uuid NOT NULL,
    round bigint NOT NULL,
    reported_at timestamptz NOT NULL,
    CONSTRAINT replicas_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE rate_demands (
    account_id uuid NOT NULL,
    key_id uuid NOT NULL,
    limit_id text NOT NULL,
    replica_id uuid NOT NULL,
    demand bigint NOT NULL,
    share integer NOT NULL,
    CONSTRAINT rate_demands_pkey PRIMARY KEY (account_id, key_id, limit_id, replica_id),
    CONSTRAINT rate_demands_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT rate_demands_key_id_fkey FOREIGN KEY (account_id, key_id) REFERENCES api_keys (account_id, id),
    CONSTRAINT rate_demands_demand_check CHECK (demand >= 0),
    CONSTRAINT rate_demands_share_check CHECK (share BETWEEN 0 AND 1000000)
) WITH (fillfactor = 50);
