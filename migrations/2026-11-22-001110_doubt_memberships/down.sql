DROP TABLE unconfirmed_members;
ALTER TABLE users DROP COLUMN memberships_asked_at;
