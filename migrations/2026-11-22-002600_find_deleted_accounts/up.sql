-- Their keys are looked for now and then.

CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_deleted_idx ON accounts (id) WHERE state = 'deleted';
