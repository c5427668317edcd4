"""Things that run as they stand: the demo, the smallest producer, and a fifth kind of job."""
