DROP TABLE rate_demands;
DROP TABLE replicas;
