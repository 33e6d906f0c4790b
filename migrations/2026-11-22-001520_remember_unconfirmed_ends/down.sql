DROP TABLE unconfirmed_ends;
