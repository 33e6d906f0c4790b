DROP INDEX CONCURRENTLY accounts_deleted_idx;
