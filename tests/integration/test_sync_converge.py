"""Any sequence of edits, deletes and creates on both sides, of syncs, faults and deaths between them, ends with equal sides."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tasks.sync.connections import forget_connectors
from tasks.sync.connector import OutcomeUnknown, Unavailable
from tasks.sync.kind import SYNC
from tests import sync_api
from tests.integration.machinery import execute, planned, query, work_off
from tests.integration.sync_machinery import api, both_sides, change, items, sync
from tests.sync_api import Api

__all__ = ["api"]

FIELDS = ("price", "stock")
TABLES = ("links", "cursors", "outbox", "ledger", "conflicts", "audit", "rejects")
picks = st.integers(0, 10**6)


class _Killed(BaseException):
    """The process died here: no handler of the machinery sees it."""


class TwoSides(RuleBasedStateMachine):
    """``edits``: each value that somebody wrote, by entity and field; every value is written once, so it can be found again."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 10
        self.last: dict[tuple[str, str, str], str] = {}
        self.deleted: set[str] = set()

    @initialize()
    def begin(self) -> None:
        for table in TABLES:
            execute(f"DELETE FROM sync_{table}")
        execute("DELETE FROM items")
        execute("UPDATE runs SET status = 'failed', finished_at = NOW(6) WHERE finished_at IS NULL")
        forget_connectors()
        self.api = sync_api.fresh(policy="newest", max_delete_share=1.0)
        for n in range(4):
            self.api.put(f"a{n}", name=f"a{n}", price="1.00", stock=1)
        sync()

    def _next(self, field: str) -> Any:
        self.value += 1
        return f"{self.value}.00" if field == "price" else self.value

    @rule(pick=picks, field=st.sampled_from(FIELDS))
    def edit_row(self, pick: int, field: str) -> None:
        rows = items()
        if not rows:
            return
        row = sorted(rows)[pick % len(rows)]
        value = self._next(field)
        self.last[rows[row][0], field, "local"] = str(value)
        change(f"UPDATE items SET {field} = :v WHERE id = :i", row, v=value, i=row)

    @rule(pick=picks, field=st.sampled_from(FIELDS))
    def edit_record(self, pick: int, field: str) -> None:
        live = self.api.live()
        if not live:
            return
        record = sorted(live)[pick % len(live)]
        value = self._next(field)
        self.last[live[record]["name"], field, "remote"] = str(value)
        self.api.put(record, **{field: value})

    @rule()
    def new_row(self) -> None:
        self.value += 1
        change(
            "INSERT INTO items (id, name) VALUES (:i, :n)", self.value + 1000, i=self.value + 1000, n=f"L{self.value}"
        )

    @rule()
    def new_record(self) -> None:
        self.value += 1
        self.api.put(f"r{self.value}", name=f"R{self.value}", price=None, stock=None)

    @rule(pick=picks)
    def delete_row(self, pick: int) -> None:
        rows = items()
        if rows:
            row = sorted(rows)[pick % len(rows)]
            self.deleted.add(rows[row][0])
            change("DELETE FROM items WHERE id = :i", row, i=row)

    @rule(pick=picks)
    def delete_record(self, pick: int) -> None:
        live = self.api.live()
        if live:
            record = sorted(live)[pick % len(live)]
            self.deleted.add(live[record]["name"])
            self.api.drop(record)

    @rule(every=st.integers(1, 4), fault=st.sampled_from(["lost", "down", "killed", "edited"]))
    def sync_with_faults(self, every: int, fault: str) -> None:
        """A run in which every so many calls fail, lose their answer, or kill their process; or that is edited under its hands."""
        calls = [0]

        def strike(op: str, remote_id: str) -> None:
            calls[0] += 1
            if op in ("list", "get") or calls[0] % every:
                return
            if fault == "edited":
                self.edit_record(calls[0], "stock")
                self.edit_row(calls[0], "price")
            elif fault == "down":
                raise Unavailable("503")
            elif fault == "lost":
                raise OutcomeUnknown("the answer was lost")
            else:
                raise _Killed

        setattr(self.api, "before" if fault in ("down", "edited") else "after", strike)
        run_id = planned(SYNC, connection="memory", kind="items")
        try:
            work_off(SYNC, run_id)
        except _Killed:
            pass
        finally:
            self.api.before = self.api.after = lambda *_: None
        execute("UPDATE runs SET status = 'failed', finished_at = NOW(6) WHERE finished_at IS NULL")

    @rule()
    def sync_in_peace(self) -> None:
        sync()

    def teardown(self) -> None:
        if not hasattr(self, "api"):
            return
        sync()
        sync()
        self.api.log.clear()
        sync()
        assert self.api.writes() == [], "writes go on after two rounds"
        local, remote = both_sides(self.api)
        assert local == remote
        assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]
        assert query("SELECT COUNT(*) FROM sync_links") == [(len(local),)]
        self._nothing_lost(local)

    def _nothing_lost(self, local: list[Any]) -> None:
        """The last edit of each side is there, or the audit has what became of it."""
        final = {name: {"price": price, "stock": str(stock)} for name, price, stock in local}
        replaced: set[str] = set()
        for (before,) in query("SELECT before_state FROM sync_audit WHERE before_state IS NOT NULL"):
            replaced |= {str(value) for value in json.loads(before).values()}
        for (name, field, side), value in self.last.items():
            if name not in self.deleted:
                assert final[name][field] == value or value in replaced, (name, field, side, value)


def test_both_sides_end_equal_whatever_happens(api: Api) -> None:
    """Writes stop within two rounds, both sides are equal, and nothing is lost that no policy decided."""
    run_state_machine_as_test(
        TwoSides,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
