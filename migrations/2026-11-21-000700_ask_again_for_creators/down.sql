-- Nothing to undo: asking once more changes nothing.
SELECT 1;
