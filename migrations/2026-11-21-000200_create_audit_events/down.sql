DROP TABLE platform_audit_events;
DROP TABLE audit_events;
DROP FUNCTION refuse_to_rewrite_history();
