DROP TABLE session_epochs;
