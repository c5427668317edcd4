"""Two-way API sync: rows of a MySQL table and records of an HTTP API, kept the same."""
