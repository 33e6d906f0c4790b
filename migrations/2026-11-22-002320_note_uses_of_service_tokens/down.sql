DROP TABLE service_token_activity;
