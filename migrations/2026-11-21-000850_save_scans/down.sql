DROP TABLE scan_cursors;
