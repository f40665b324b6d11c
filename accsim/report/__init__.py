"""Results: the report of a simulation, its tables, comparisons and what-ifs."""
