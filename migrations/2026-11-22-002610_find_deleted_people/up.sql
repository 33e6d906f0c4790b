-- Their keys are looked for now and then.

CREATE INDEX CONCURRENTLY IF NOT EXISTS users_deleted_idx ON users (personal_account_id) WHERE state = 'deleted';
