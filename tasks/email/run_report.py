"""What operators see of a campaign's run: its recipients by state, why some failed, who is in doubt, how fast it goes."""

from __future__ import annotations

import shlex

from sqlalchemy import Connection

from tasks.email.ledger import find_campaign
from tasks.email.report import campaign_report
from tasks.report import MOST_ROWS, Figure, Report, RunSeen, Table, Tone

_TONES: dict[str, Tone] = {"sent": "good", "failed": "bad", "in_doubt": "warn", "deferred": "warn"}


def run_report(connection: Connection, seen: RunSeen) -> Report:
    """The campaign's ledger, which all runs of the campaign share; of a dry run, what a start would do."""
    name = str(seen.args.get("name", ""))
    if seen.args.get("dry_run"):
        return Report("Dry run: what a start would do", seen.figures(*(n for n in seen.totals if n != "dry_run")))
    if find_campaign(connection, name) is None:
        return Report("Recipients")
    found = campaign_report(connection, name, rates=seen.args.get("rates") or ())
    figures = [
        Figure("recipients", found["recipients"]),
        *(Figure(state.replace("_", " "), n, _TONES.get(state, "")) for state, n in found["states"].items() if n),
    ]
    if found["left"] and found["eta_s"] is not None:
        figures.append(Figure("left under its rates", f"{found['eta_s'] / 60:,.0f} min or more"))
    quoted = shlex.quote(name)
    todo = [f"`python -m ops email report {quoted}`"]
    if found["states"]["in_doubt"]:
        todo.append(
            f"Who is in doubt may have got it: `python -m ops email in-doubt list {quoted}`, then `in-doubt resolve`"
        )
    return Report("Recipients", figures, _tables(found), todo)


def _tables(found: dict[str, list[dict[str, object]]]) -> list[Table]:
    tables = []
    if found["failed_by_code"]:
        tables.append(
            Table(
                "Why recipients failed or wait",
                ("State", "Code>", "Enhanced", "Recipients>", "For example"),
                [
                    [row[name] for name in ("state", "code", "enhanced", "n", "example")]
                    for row in found["failed_by_code"]
                ][:MOST_ROWS],
            )
        )
    if found["failed_by_domain"]:
        tables.append(
            Table(
                "By domain",
                ("Domain", "Failed>", "Deferred>", "In doubt>"),
                [
                    [row[name] for name in ("domain", "failed", "deferred", "in_doubt")]
                    for row in found["failed_by_domain"]
                ][:MOST_ROWS],
            )
        )
    if found["sent_per_minute"]:
        tables.append(
            Table(
                "Sent in the last minutes",
                ("Minute (UTC)", "Sent>"),
                [[row["minute"], row["sent"]] for row in found["sent_per_minute"][-10:]],
            )
        )
    return tables
