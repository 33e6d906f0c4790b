ALTER TABLE scan_cursors
    DROP COLUMN drift,
    DROP COLUMN completed_at,
    DROP COLUMN failures;
