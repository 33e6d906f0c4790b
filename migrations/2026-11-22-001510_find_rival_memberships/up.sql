-- There are hardly any, so that looking through them all is cheap.

CREATE INDEX CONCURRENTLY memberships_rivals_idx ON memberships (account_id) WHERE rivals <> '[]';
