DROP TABLE named_requests;
