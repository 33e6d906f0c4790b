DROP INDEX CONCURRENTLY memberships_rivals_idx;
