"""Private Redis-compatible server and MariaDB, and the supervised stack, for the demo, development and tests."""
