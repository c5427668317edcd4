"""The kind of job that imports a CSV file into a table, in chunks."""
