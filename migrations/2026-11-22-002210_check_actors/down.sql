-- What was found to hold still holds.
SELECT;
