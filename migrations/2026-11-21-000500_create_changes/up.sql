-- What changed, for the caches of every replica: one row per change, written by the transaction that makes it.
--
-- A reader asks for all rows whose transaction was not finished when it asked last: xid >= the snapshot's xmin of then. Numbers from a
-- sequence would not do, because they are visible in the order of commits and given in the order of inserts.

CREATE TABLE changes (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    kind text NOT NULL,
    subject text NOT NULL,
    CONSTRAINT changes_pkey PRIMARY KEY (seq)
);

CREATE INDEX changes_xid_idx ON changes (xid);

-- Every row with a smaller xid than oldest was visible at that time. What a transaction that ran for long wrote is kept from its end on,
-- which no time in the row itself could tell.
CREATE TABLE change_marks (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    oldest bigint NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    CONSTRAINT change_marks_pkey PRIMARY KEY (at)
);
