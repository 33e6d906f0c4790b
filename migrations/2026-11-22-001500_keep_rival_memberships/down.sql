ALTER TABLE memberships
    DROP CONSTRAINT memberships_rivals_list,
    DROP COLUMN rivals;
