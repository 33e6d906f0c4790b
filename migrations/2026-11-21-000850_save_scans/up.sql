-- How far a scan of the identity provider got. One row per kind of scan; of two who move it from the same version, one fails.

CREATE TABLE scan_cursors (
    name text NOT NULL,
    position text NOT NULL,
    version bigint NOT NULL,
    moved_at timestamptz NOT NULL,
    CONSTRAINT scan_cursors_pkey PRIMARY KEY (name)
);

-- Long ago, so that the first scan is due at once.
INSERT INTO scan_cursors (name, position, version, moved_at) VALUES ('provider', 'idle', 0, '2000-01-01T00:00:00Z');
