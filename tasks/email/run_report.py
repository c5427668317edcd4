"""What operators see of a campaign's run: its recipients by state, why some failed, who is in doubt, how long the rest takes.

A page waits for it, so what failed is counted in the first of them; `tasks.email.report` has it all, in its own time.
"""

from __future__ import annotations

import shlex

from sqlalchemy import Connection, text

from tasks.email import ledger
from tasks.email.report import OPEN, eta_s
from tasks.report import MOST_ROWS, Figure, Report, RunSeen, Table, Tone

COUNTED = 10_000
"""Why recipients failed is counted in so many of them: a list with a wrong column may fail by the million."""
_TONES: dict[str, Tone] = {"sent": "good", "failed": "bad", "in_doubt": "warn", "deferred": "warn"}
_SOME = (
    "(SELECT state, code, enhanced, COALESCE(response, reason) AS told, SUBSTRING_INDEX(identity, '@', -1) AS domain"
    " FROM email_recipients WHERE campaign = :campaign AND state IN ('failed', 'deferred', 'in_doubt') LIMIT :counted) some"
)


def run_report(connection: Connection, seen: RunSeen) -> Report:
    """The campaign's ledger, which all runs of the campaign share; of a dry run, what a start would do."""
    name = str(seen.args.get("name", ""))
    if seen.args.get("dry_run"):
        return Report("Dry run: what a start would do", seen.figures(*(n for n in seen.totals if n != "dry_run")))
    if ledger.find_campaign(connection, name) is None:
        return Report("Recipients")
    states = ledger.counts(connection, name)
    left = sum(states[state] for state in OPEN)
    figures = [
        Figure("recipients", sum(states.values())),
        *(Figure(state.replace("_", " "), n, _TONES.get(state, "")) for state, n in states.items() if n),
    ]
    takes_s = eta_s(left, seen.args.get("rates") or ())
    if left and takes_s is not None:
        figures.append(Figure("left under its rates", f"{takes_s / 60:,.0f} min or more"))
    quoted = shlex.quote(name)
    todo = [f"All of it, minute by minute: `python -m ops email report {quoted}`"]
    if states["in_doubt"]:
        todo.append(
            f"Who is in doubt may have got it: `python -m ops email in-doubt list {quoted}`, then `in-doubt resolve`"
        )
    troubled = states["failed"] + states["deferred"] + states["in_doubt"]
    return Report("Recipients", figures, _tables(connection, name, troubled) if troubled else (), todo)


def _tables(connection: Connection, name: str, troubled: int) -> list[Table]:
    values = {"campaign": name, "counted": COUNTED, "most": MOST_ROWS}
    note = f"counted in {COUNTED:,} of {troubled:,}" if troubled > COUNTED else ""
    reasons = connection.execute(
        text(
            f"SELECT state, code, enhanced, COUNT(*) AS n, MAX(told) FROM {_SOME}"
            " GROUP BY state, code, enhanced ORDER BY n DESC, state, code LIMIT :most"
        ),
        values,
    )
    domains = connection.execute(
        text(
            "SELECT domain, CAST(SUM(state = 'failed') AS SIGNED), CAST(SUM(state = 'deferred') AS SIGNED),"
            f" CAST(SUM(state = 'in_doubt') AS SIGNED) FROM {_SOME} GROUP BY domain ORDER BY COUNT(*) DESC, domain LIMIT :most"
        ),
        values,
    )
    return [
        Table(
            "Why recipients failed or wait",
            ("State", "Code>", "Enhanced", "Recipients>", "For example"),
            [tuple(row) for row in reasons],
            note,
        ),
        Table("By domain", ("Domain", "Failed>", "Deferred>", "In doubt>"), [tuple(row) for row in domains], note),
    ]
