DROP INDEX CONCURRENTLY users_deleted_idx;
