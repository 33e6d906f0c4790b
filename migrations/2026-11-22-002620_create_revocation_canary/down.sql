DROP TABLE revocation_canary;
