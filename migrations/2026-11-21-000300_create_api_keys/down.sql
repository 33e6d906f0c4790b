DROP TABLE api_key_secrets;
DROP TABLE key_locator;
DROP TABLE api_keys;
