"""Run state: what MySQL knows of runs, jobs, attempts, dead letters and operators. Knows SQL and nothing else.

Every transition is a conditional UPDATE whose row count is checked; time is the database's (`NOW(6)`, UTC).
Lock order everywhere: fences, dead_letters, jobs, effects and attempts, runs.  Whoever locks a run row locks nothing
that exists already after it.
"""
