-- There are hardly any, so that looking through them all is cheap.
-- Databases from before this migration have it.

CREATE INDEX CONCURRENTLY IF NOT EXISTS memberships_rivals_idx ON memberships (account_id) WHERE rivals <> '[]';
