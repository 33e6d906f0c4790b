DROP TABLE change_marks;
DROP TABLE changes;
