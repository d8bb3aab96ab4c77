"""Pages, tables and figures from the records of evaluations."""
