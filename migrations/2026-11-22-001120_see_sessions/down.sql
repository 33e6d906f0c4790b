DROP TABLE seen_sessions;
