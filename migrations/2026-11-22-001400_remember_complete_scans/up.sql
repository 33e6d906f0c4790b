-- How often what is at the position could not be read, and what the last scan that read everything had to mend.

ALTER TABLE scan_cursors
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN completed_at timestamptz,
    ADD COLUMN drift integer,
    ADD CONSTRAINT scan_cursors_failures_not_negative CHECK (failures >= 0),
    ADD CONSTRAINT scan_cursors_complete_whole CHECK ((completed_at IS NULL) = (drift IS NULL) AND drift >= 0);
