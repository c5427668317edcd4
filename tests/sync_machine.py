"""Any sequence of edits, deletes and creates on both sides, of syncs, faults and deaths between and under them: a state machine.

The API is Kinto behind nginx; syncs run in this process, on real MariaDB and Valkey, so that a step is a function call and the
same seed does the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from runstate.statuses import RunStatus
from tasks import clients, failpoints
from tasks.sync.connections import forget_connectors
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.kinto_server import KintoServer
from tests.sync_journal import AUDIT, FIELDS, Journal, RecordEdits, RowEdits, decided_in
from tests.sync_shop import POLICIES

TABLES = ("links", "cursors", "outbox", "ledger", "conflicts", "audit", "rejects")
DEATHS = (
    "sync.before_write",
    "sync.after_write",
    "checkpoint.before_commit",
    "record.before_commit",
    "record.after_commit",
)
MOMENTS = ("perform.before", "sync.before_write", "sync.after_write", "perform.after")
"""Where no transaction is open, so that somebody else can edit what the sync is about to write."""
picks = st.integers(0, 10**6)


class _Killed(BaseException):
    """The process died here: no handler of the machinery sees it."""


class TwoSides(RuleBasedStateMachine):
    """A few rows and records, edited on both sides while they are kept the same; `on` gives it its API."""

    kinto: ClassVar[KintoServer]
    fired: ClassVar[Counter[str]]
    """How often which fault struck, in all examples."""

    @classmethod
    def on(cls, kinto: KintoServer) -> type[TwoSides]:
        """The machine for this API."""
        return type("TwoSides", (cls,), {"kinto": kinto, "fired": Counter()})

    @initialize()
    def begin(self) -> None:
        for table in TABLES:
            execute(f"DELETE FROM sync_{table}")
        execute("DELETE FROM items")
        self._end_runs()
        forget_connectors()
        self.kinto.fresh("items")
        self.journal = Journal()
        self.sides = (RowEdits(clients.engine(), self.journal), RecordEdits(self.kinto, self.journal))
        for _ in range(4):
            self.sides[1].create()
        self._sync()

    # -- what people do -----------------------------------------------------------------------------------------------------

    @rule(side=st.integers(0, 1), pick=picks, columns=st.sampled_from([("price",), ("stock",), FIELDS]))
    def edit(self, side: int, pick: int, columns: tuple[str, ...]) -> None:
        if names := sorted(self.sides[side].state()):
            self.sides[side].edit(names[pick % len(names)], columns)

    @rule(pick=picks)
    def edit_both(self, pick: int) -> None:
        """The same field of the same thing: a policy decides."""
        if names := sorted(self.sides[0].state().keys() & self.sides[1].state().keys()):
            for side in self.sides:
                side.edit(names[pick % len(names)], (FIELDS[pick % 2],))

    @rule(side=st.integers(0, 1))
    def create(self, side: int) -> None:
        self.sides[side].create()

    @rule(side=st.integers(0, 1), pick=picks)
    def delete(self, side: int, pick: int) -> None:
        if names := sorted(self.sides[side].state()):
            self.sides[side].delete(names[pick % len(names)])

    @rule(pick=picks)
    def delete_and_edit(self, pick: int) -> None:
        """One side deletes what the other edits: the edit brings it back."""
        if names := sorted(self.sides[0].state().keys() & self.sides[1].state().keys()):
            self.sides[pick % 2].delete(names[pick % len(names)])
            self.sides[1 - pick % 2].edit(names[pick % len(names)], FIELDS)

    # -- what syncs do, and what happens to them ------------------------------------------------------------------------------

    @rule()
    def sync_in_peace(self) -> None:
        self._sync()

    @rule(times=st.integers(1, 3))
    def sync_that_loses_answers(self, times: int) -> None:
        """Writes are done, and nobody hears of it."""
        self.kinto.lose_answers(times)
        self._sync_as_far_as_it_gets("lost", times)

    @rule(times=st.integers(1, 3))
    def sync_that_is_refused(self, times: int) -> None:
        self.kinto.fail_writes(times)
        self._sync_as_far_as_it_gets("refused", times)

    @rule(point=st.sampled_from(DEATHS), nth=st.integers(1, 3))
    def sync_that_dies(self, point: str, nth: int) -> None:
        """The process is gone the n-th time it passes this place, and its claim with it."""

        def die() -> None:
            raise _Killed

        self._sync_struck(point, nth, die, "killed")

    @rule(point=st.sampled_from(MOMENTS), nth=st.integers(1, 3), pick=picks)
    def sync_that_is_overtaken(self, point: str, nth: int, pick: int) -> None:
        """Both sides are edited under its hands."""

        def edit() -> None:
            self.edit(pick % 2, pick, FIELDS)
            self.edit(1 - pick % 2, pick // 2, FIELDS)

        self._sync_struck(point, nth, edit, "overtaken")

    @rule(point=st.sampled_from(MOMENTS), nth=st.integers(1, 3), side=st.integers(0, 1), pick=picks)
    def sync_that_is_deleted_under(self, point: str, nth: int, side: int, pick: int) -> None:
        self._sync_struck(point, nth, lambda: self.delete(side, pick), "deleted under")

    # -- how ------------------------------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        run_id = planned(SYNC, connection="shop", kind="items", allow_deletes=True)
        work_off(SYNC, run_id)
        run = run_of(run_id)
        assert run.status is RunStatus.COMPLETED, (run.status, run.reason)

    def _sync_as_far_as_it_gets(self, fault: str, times: int = 0) -> None:
        try:
            work_off(SYNC, planned(SYNC, connection="shop", kind="items", allow_deletes=True))
        except _Killed:
            pass
        finally:
            if times:
                self.fired[fault] += times - self.kinto.faults_to_come()
            self.kinto.calm()
        self._end_runs()
        # The breaker that its failures have opened would hold the next run.
        clients.redis().flushdb()

    def _sync_struck(self, point: str, nth: int, strike: Callable[[], None], fault: str) -> None:
        passed = 0
        hit = failpoints.hit

        def hook(name: str, connection: object = None) -> None:
            nonlocal passed
            passed += name == point
            if name == point and passed == nth:
                self.fired[fault] += 1
                strike()

        failpoints.hit = hook  # type: ignore[assignment]
        try:
            self._sync_as_far_as_it_gets(fault)
        finally:
            failpoints.hit = hit

    @staticmethod
    def _end_runs() -> None:
        execute("UPDATE runs SET status = 'failed', finished_at = NOW(6) WHERE finished_at IS NULL")

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        self._sync()
        self._sync()
        self.kinto.forget_requests()
        audited = query("SELECT COUNT(*) FROM sync_audit")
        self._sync()
        assert [seen for seen in self.kinto.requests() if seen.method != "GET"] == [], "writes go on after two rounds"
        assert query("SELECT COUNT(*) FROM sync_audit") == audited
        local, remote = (side.state() for side in self.sides)
        assert local == remote
        assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]
        assert query("SELECT COUNT(*) FROM sync_rejects") == [(0,)]
        assert query("SELECT COUNT(*) FROM sync_links") == [(len(local),)]
        decided = decided_in(query(AUDIT))
        _, problems = self.journal.fates(local, decided, policies=POLICIES)
        assert problems == []


def machine_settings(examples: int, steps: int, *, derandomize: bool = True) -> settings:
    """So many sequences of so many steps."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        deadline=None,
        database=None,
        # A sequence that fails is shown as it is: to shrink it takes many times as long as to find it.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
