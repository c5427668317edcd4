"""E-mail campaigns: a rendered message to each recipient, throttled across all workers."""
