"""Schema changes, one after another."""
