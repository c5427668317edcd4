"""What an action on a run will do, in sentences with numbers, and why it would be refused as the run stands now."""

from __future__ import annotations

from ops.output import duration
from ops.pages.run_facts import OFFERED, Facts


def moot(action: str, facts: Facts) -> str:
    """Why the action would be refused as the run stands now; empty where it would not."""
    run = facts.run
    if action not in OFFERED.get(run.status, ()):
        return f"The run is {run.status.value}: there is nothing to {action} now."
    if action == "recover" and facts.stale_since is None:
        return "The run is not stale: it is recovered by force only, which takes an admin."
    if action == "retry" and not run.jobs_dead + run.jobs_cancelled:
        return "Nothing is left of this run: no job of it is dead or cancelled."
    return ""


def consequences(action: str, facts: Facts) -> list[str]:
    """What will happen, with numbers."""
    run, out = facts.run, facts.pulse
    key = f"The key {run.admission_key}" if run.admission_key is not None else "Its place"
    match action:
        case "pause":
            return [
                f"{run.jobs_open} open jobs wait until somebody resumes the run.",
                f"{out.in_hand} jobs in workers' hands stop at their next checkpoint and go back, at no cost.",
                f"{key} stays taken: other starts of it are refused.",
            ]
        case "resume":
            return [f"{run.jobs_open} open jobs may be worked on again, those that are due at once."]
        case "cancel":
            return [
                f"{run.jobs_open} open jobs will not be done; {out.in_hand} of them are in workers' hands and are stopped.",
                f"What {run.jobs_done} jobs recorded stays.",
                f"{key} is free once nothing is in a worker's hands any more. The rest can be done later as a new run.",
            ]
        case "recover":
            beat_s = (run.seen_at - run.heartbeat_at).total_seconds() if run.heartbeat_at else None
            age = f"{duration(beat_s)} ago" if beat_s is not None else "never"
            return [
                f"The run last moved {age}; {run.jobs_open} of its {run.jobs_total} jobs are open.",
                "Resume: it goes on under a new fence; whoever still works under the old one can write nothing.",
                f"End: it is failed; {key.lower() if run.admission_key is None else key} is free at once.",
                "If it moved since you looked, nothing is done.",
            ]
        case _:
            return [
                f"A new run does {run.jobs_dead} dead and {run.jobs_cancelled} cancelled jobs again.",
                "It goes through admission like any start: it is refused while another run of the key is active.",
            ]
