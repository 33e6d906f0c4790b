DROP TABLE api_key_activity;
