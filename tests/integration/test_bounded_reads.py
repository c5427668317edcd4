"""What operators look at reads few rows, however many there are: a plan that scans goes red here, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from bench.pages_data import KINDS, LARGE, fill
from runstate import backlog, job_states, letters, overview, pages, queries, run_page, runs, stale, standing, trouble
from runstate.alerts import database_now
from runstate.documents import admission_hash
from runstate.letters import Filter
from runstate.run_order import Place, RunFilter
from runstate.transaction import in_transaction
from tasks import clients

pytestmark = pytest.mark.usefixtures("machinery")

JOBS, LETTERS, RUNS = 40_000, 3_000, 2_000
Look = Callable[[Connection], Any]


@pytest.fixture
def engine(machinery: None) -> Engine:
    """A history: 20,000 jobs of one active run, as many of 2,000 others, 3,000 dead letters."""
    fill(clients.engine(), jobs=JOBS, letters=LETTERS, runs=RUNS)
    return clients.engine()


def page(**given: Any) -> Look:
    """A page of the list of runs."""
    order, after = given.pop("order", "newest"), given.pop("after", None)
    return lambda c: pages.runs_page(c, RunFilter(**given), order=order, after=after, most=51)


def next_page(order: Any) -> Look:
    """The page behind the first."""

    def look(connection: Connection) -> object:
        last = pages.runs_page(connection, RunFilter(), order=order, most=51)[-1]
        at = last.finished_at if order == "finished" else last.requested_at
        assert at is not None
        return pages.runs_page(connection, RunFilter(), order=order, after=Place(at, last.run_id), most=51)

    return look


def lately(order: Any) -> Look:
    """Runs of the last ten minutes, fewer than a page."""
    return lambda c: pages.runs_page(c, RunFilter(since=database_now(c) - timedelta(minutes=2)), order=order, most=51)


HASHES = [admission_hash(kind, "table_7") for kind in KINDS]
FEW: dict[str, tuple[int, Look]] = {
    # name: (rows that it may read, look)
    **{f"runs, {order}": (300, page(order=order)) for order in ("newest", "oldest", "finished")},
    **{f"runs, {order}, next page": (600, next_page(order)) for order in ("newest", "oldest", "finished")},
    **{f"runs, {order}, lately": (300, lately(order)) for order in ("newest", "finished")},
    "runs of a status": (300, page(statuses=["failed"])),
    "runs of a status that none has": (20, page(statuses=["cancelling"])),
    "runs of a kind": (800, page(kind="free")),
    "runs of a kind that none has": (40, page(kind="nothing")),
    "runs of a kind and status": (300, page(kind="free", statuses=["failed"])),
    "active runs": (300, page(statuses=["planning", "running", "paused", "cancelling"])),
    "runs of a status, last finished": (600, page(statuses=["failed"], order="finished")),
    "runs of a kind, last finished": (800, page(kind="free", order="finished")),
    "runs of a kind and status, oldest": (300, page(kind="free", statuses=["completed"], order="oldest")),
    "runs of a key": (100, page(key_hashes=HASHES)),
    "what waits, by kind": (400, overview.waiting),
    "the backlog": (400, backlog.backlog),
    "dead letters, up to a hundred": (250, lambda c: overview.dead_count(c, most=100)),
    "stale runs": (400, lambda c: stale.stale_runs(c, [dict.fromkeys(KINDS, 300)])),
    "whether a large run is stale": (60, lambda c: stale.stale_since(c, runs.get(c, LARGE), 300, [*KINDS])),
    "stuck runs": (200, lambda c: trouble.stuck_runs(c, 60)),
    "new letters": (800, lambda c: trouble.letters_lately(c, 300)),
    "the standing of a large run": (300, lambda c: standing.standing(c, LARGE)),
    "what is ahead of it": (1500, lambda c: standing.due_ahead(c, LARGE, [*KINDS])),
    "its jobs by state": (100, lambda c: job_states.job_states(c, LARGE)),
    "its jobs in trouble": (1500, lambda c: queries.troubled_jobs(c, LARGE)),
    "its attempts": (4500, lambda c: queries.attempts_of(c, LARGE)),
    "its rows": (20, lambda c: queries.rows_recorded(c, LARGE)),
    "its pulse": (800, lambda c: run_page.pulse(c, LARGE)),
    "its newest attempts": (400, lambda c: run_page.attempts_page(c, LARGE, most=40)),
    "its failures": (1000, lambda c: run_page.outcome_counts(c, LARGE)),
    "letters": (300, lambda c: pages.letters_page(c, Filter(), before_id=None, most=51)),
    "letters of a class that none has": (20, lambda c: pages.letters_page(c, Filter(error_class="x"), before_id=None)),
    "letters that are replayed": (20, lambda c: letters.find(c, Filter(status="replayed"))),
    "audit": (150, pages.audit_page),
    "audit of an action that none did": (20, lambda c: pages.audit_page(c, action="nothing")),
}


def test_looks_read_few_rows(engine: Engine) -> None:
    """Bounded by what is shown and by what is under way, never by what there is."""
    # Nothing moves any more: what is asked only then is asked, too.
    in_transaction(
        engine,
        lambda c: (
            c.execute(text("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 DAY WHERE finished_at IS NULL")) and None
        ),
    )
    read = {name: _rows_read(engine, look) for name, (_, look) in FEW.items()}
    assert {name: rows for name, rows in read.items() if rows > FEW[name][0]} == {}


def test_large_runs_are_told_right_without_being_counted(engine: Engine) -> None:
    """What the counters say is what a count would say."""
    told = in_transaction(engine, lambda c: job_states.job_states(c, LARGE))["work"]
    counted = in_transaction(
        engine,
        lambda c: c.execute(
            text("SELECT state, COUNT(*) FROM jobs WHERE run_id = :r GROUP BY state"), {"r": LARGE}
        ).all(),
    )
    assert told == {row.state: row[1] for row in counted}
    (imports,) = (kind for kind in in_transaction(engine, backlog.backlog) if kind.kind == "import")
    waiting = in_transaction(
        engine,
        lambda c: c.execute(
            text(
                "SELECT SUM(j.due_at <= NOW(6)) AS due, SUM(j.due_at > NOW(6)) AS later FROM jobs j JOIN runs r USING (run_id)"
                " WHERE r.kind = 'import' AND r.status = 'running' AND j.state = 'pending'"
            )
        ).one(),
    )
    assert (imports.due, imports.later) == (int(waiting.due), int(waiting.later))


@pytest.mark.parametrize("later", [0, 7, 8_000])
def test_jobs_that_are_due_later_are_told_apart(engine: Engine, later: int) -> None:
    """None, a few that retry, and nearly all: by no more than a thousand and one looks."""

    def look(connection: Connection) -> Any:
        (mine,) = (kind for kind in backlog.backlog(connection) if kind.kind == "import")
        return mine

    before = in_transaction(engine, look)
    in_transaction(
        engine,
        lambda c: (
            c.execute(
                text(
                    "UPDATE jobs SET due_at = NOW(6) + INTERVAL 1 HOUR WHERE run_id = :r AND state = 'pending'"
                    " ORDER BY job_no DESC LIMIT :later"
                ),
                {"r": LARGE, "later": later},
            )
            and None
        ),
    )
    rows = _rows_read(engine, look)
    after = in_transaction(engine, look)
    assert after.due + after.later == before.due + before.later
    assert (after.later, rows < 4500) == (later, True)


def test_letters_are_counted_without_reading_one(engine: Engine) -> None:
    """In an index alone: beside a count, payloads and tracebacks are what costs."""
    for which in (
        Filter(),
        Filter(status=None),
        Filter(kind="free"),
        Filter(error_class="Permanent"),
        Filter(run_id=LARGE),
    ):
        for look in (
            lambda c, w=which: letters.count(c, w),
            lambda c, w=which: letters.groups(c, w, most=3),
            lambda c, w=which: pages.letters_by_run(c, w),
        ):
            with _statements(engine) as made:
                in_transaction(engine, look)
            statement, values = made[0]
            with engine.connect() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values).mappings().all()
            assert all("Using index" in (step["Extra"] or "") for step in plan if step["table"] == "dead_letters"), plan


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    made: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        made.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _rows_read(engine: Engine, look: Look) -> int:
    def handlers(connection: Connection) -> int:
        found = connection.execute(text("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'"))
        return sum(int(row[1]) for row in found)

    with engine.connect() as connection:
        before = handlers(connection)
        nothing = handlers(connection) - before
        look(connection)
        return handlers(connection) - before - 2 * nothing
