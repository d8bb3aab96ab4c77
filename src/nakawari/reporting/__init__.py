"""Pages, tables and figures made from the records of evaluations, and from nothing else."""
