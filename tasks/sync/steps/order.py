"""Which step follows which."""

from __future__ import annotations

from tasks.kinds import Work

STEPS = {"both": ("pull", "scan", "deletes", "sort"), "pull": ("pull", "deletes"), "push": ("scan", "deletes", "sort")}
"""By the run's direction; ``missing`` belongs to ``pull``, ``push`` to ``sort``."""


def next_step(work: Work, after: str | None) -> None:
    """Ask for the step that follows ``after`` (None: the first), if there is one."""
    steps = STEPS[work.args["direction"]]
    following = steps[steps.index(after) + 1 :] if after else steps
    if following:
        work.add_job({"do": following[0]})
