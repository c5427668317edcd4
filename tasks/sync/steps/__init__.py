"""The steps of a run, each a function ``(work, scene) -> result`` that asks for the next: settle, pull, missing, scan, deletes,
sort, push.  docs/sync.md says what each does, and what holds if the process dies there.
"""
