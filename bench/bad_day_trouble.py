"""What the bad day consists of: work under way on a real stack, four troubles at once, and what must be true at its end."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import bad_day_kinds
from tests.cleaning import flush_valkey
from tests.e2e.faults_database import Database
from tests.e2e.faults_import import GeneratedImport
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until
from tests.email_server import ScriptedServer, scripted_server
from tests.kinds import EFFECTS_TABLE

THROTTLED = "454 4.7.0 Your account is on hold, ask our support"
PROVIDER = "email:provider:default"
TRIGGER = (
    "CREATE TRIGGER {table}_prices BEFORE INSERT ON {table} FOR EACH ROW BEGIN IF NEW.n MOD {every} = {offset} THEN"
    " SIGNAL SQLSTATE '42S02' SET MYSQL_ERRNO = 1146, MESSAGE_TEXT = 'Table prices_xk does not exist'; END IF; END"
)
"""Rows of one country need a price list that is not there: no fault of the row, so its whole chunk fails."""
CLOSED = 3


def stack_settings(var: Path, port: int, *, pages: bool, every_s: float = 1, patience_s: float = 2) -> dict[str, str]:
    """What the day's stack is started with; ``every_s``, ``patience_s`` of the alerts."""
    return {
        "HOLDFAST_KINDS": bad_day_kinds.ALL,
        "HOLDFAST_IMPORTS_PROCESSES": "1",
        "HOLDFAST_IMPORTS_CONCURRENCY": "2",
        "HOLDFAST_EMAIL_PROCESSES": "1",
        "HOLDFAST_EMAIL_CONCURRENCY": "2",
        "HOLDFAST_BEATS": "1",
        "HOLDFAST_FLOWERS": "1" if pages else "0",
        "HOLDFAST_ALERT_EVERY_S": str(every_s),
        "HOLDFAST_ALERT_PATIENCE_S": str(patience_s),
        "HOLDFAST_ALERT_CALM_S": str(patience_s),
        "HOLDFAST_FAILPOINTS": str(var / "failpoints"),
        "EMAIL_PROVIDER_DEFAULT": f"smtp://127.0.0.1:{port}?starttls=never&pause=900",
        "FLOWER_ROLES": "olga=admin",
        "FLOWER_BASIC_AUTH": "olga:olga-pw",
    }


@dataclass
class BadDay:
    """The work of the day and its troubles."""

    stack: Stack
    database: Database
    server: ScriptedServer
    products: GeneratedImport
    orders: GeneratedImport
    campaign_run: str
    closed_run: str
    recipients: int

    # -- the troubles ---------------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """Redis flushed, the imports pool dead for good, the provider throttling; the orders are poisoned already."""
        # The senders stand still meanwhile: a pause that the provider asks for before the flush would be flushed as well.
        self.stack.freeze("email")
        self.server.always["MAIL"] = THROTTLED
        names = [process.name for process in self.stack.processes("imports")]
        pids = [*self.stack.pids("imports"), *self.stack.children("imports")]
        # Told to stop first, then killed in the middle of their jobs: Supervisor will not start them again.
        self.stack.supervisor.stop(names)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        flush_valkey(self.stack.servers)
        self.stack.thaw("email")

    def mend_the_table(self) -> None:
        """The database's people put the price list there."""
        self.database.rows(f"DROP TRIGGER {self.orders.table}_prices")

    def mend_the_provider(self) -> None:
        """The provider's support raises the limit."""
        self.server.always.pop("MAIL", None)

    # -- waiting: an operator looks again and again ----------------------------------------------------------------------

    def wait_firing(self, *causes: str) -> None:
        """Until all of these fire."""
        firing = "SELECT cause FROM alerts WHERE status = 'firing'"
        wait_until(lambda: set(causes) <= {row[0] for row in self.database.rows(firing)}, 90, f"{causes} to fire")

    def wait_orders(self) -> None:
        """Until every job of the poisoned import is done or dead."""
        counters = "SELECT jobs_total - jobs_done - jobs_dead FROM runs WHERE run_id = %s"
        wait_until(lambda: self.database.value(counters, self.orders.run_id) == 0, 120, "the orders")

    def wait_letter(self, letter_id: int, status: str) -> None:
        """Until the letter stands there."""
        now = "SELECT status FROM dead_letters WHERE id = %s"
        wait_until(lambda: self.database.value(now, letter_id) == status, 60, f"letter {letter_id} to be {status}")

    def wait_calm(self) -> None:
        """Until no alert fires and no run is open."""
        firing = "SELECT COUNT(*) FROM alerts WHERE status IN ('firing', 'recovering', 'pending')"
        wait_until(lambda: self.database.value(firing) == 0, 120, "every alert to clear")
        wait_until(lambda: self.database.value("SELECT COUNT(*) FROM runs WHERE finished_at IS NULL") == 0, 60, "runs")

    # -- the end --------------------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is not as it must be: empty if every promise was kept."""
        found = [*self._rows(self.products), *self._rows(self.orders), *self._mails()]
        open_runs = self.database.rows("SELECT kind, status FROM runs WHERE status NOT IN ('completed')")
        found += [f"a run of {kind} is {status}" for kind, status in open_runs]
        letters = dict(self.database.rows("SELECT status, COUNT(*) FROM dead_letters GROUP BY status"))
        if letters.pop("discarded", 0) != CLOSED or set(letters) != {"replayed"}:
            found.append(f"letters: {letters} beside the {CLOSED} that were to be discarded")
        firing = self.database.rows("SELECT cause, status FROM alerts WHERE status NOT IN ('ok') AND cause <> '(turn)'")
        found += [f"alert {cause} is {status}" for cause, status in firing]
        dead = self.database.rows("SELECT id, error FROM dead_letters WHERE status = 'dead'")
        found += [f"letter {number} is left: {error}" for number, error in dead]
        fired = {row[0] for row in self.database.rows("SELECT cause FROM alerts WHERE fired_at IS NOT NULL")}
        expected = {"workers on imports", "new dead letters", "paused limits"}
        found += [f"alert {cause} never fired" for cause in sorted(expected - fired)]
        return found + self._audit()

    def _rows(self, made: GeneratedImport) -> list[str]:
        wrong = [problem for problem in made.found().problems if problem.startswith(("rows", "distinct", "checksum"))]
        return [f"table {made.table}: {problem}" for problem in wrong]

    def _mails(self) -> list[str]:
        copies = Counter(self.server.recipients())
        expected = {f"p{n}@example.com" for n in range(self.recipients)}
        wrong = [f"{address} got {copies[address]} mails" for address in sorted(expected) if copies[address] != 1]
        states = dict(self.database.rows("SELECT state, COUNT(*) FROM email_recipients GROUP BY state"))
        return wrong[:5] + ([] if states == {"sent": self.recipients} else [f"the ledger says {states}"])

    def _audit(self) -> list[str]:
        rows = self.database.rows("SELECT actor, action, reason FROM audit_log")
        wrong = [
            f"{action} by {actor!r} because of {reason!r}" for actor, action, reason in rows if not (actor and reason)
        ]
        needed = {"replay", "discard_letter", "limit_resume", "redis_lost"} - {action for _, action, _ in rows}
        return wrong + [f"the audit log has no {action}" for action in sorted(needed)]

    def audit(self) -> list[tuple[Any, ...]]:
        """Who did what and why."""
        return self.database.rows("SELECT actor, action, subject, reason FROM audit_log ORDER BY id")


@contextmanager
def bad_day(stack: Stack, port: int, *, rows: int, recipients: int) -> Iterator[BadDay]:
    """Work under way: two imports, a campaign, reports; each far enough to be hit in the middle."""
    database = Database(stack.servers)
    database.rows(EFFECTS_TABLE)
    with scripted_server(port=port) as server, Producer(stack.environment) as producer:
        directory = stack.var / "imports"
        products = GeneratedImport(database, directory, rows=rows, seed=1, jobs=60)
        orders = GeneratedImport(database, directory, rows=rows // 2, seed=2, jobs=40)
        every = rows // 2 // 6
        database.rows(TRIGGER.format(table=orders.table, every=every, offset=every // 2))
        people = [{"email": f"p{n}@example.com", "name": f"P{n}"} for n in range(recipients)]
        campaign = producer.start(
            "day_campaign",
            name="spring",
            recipients=people,
            template={"text": "Hello {{ name }}"},
            subject="For {{ name }}",
            sender="news@sender.example.com",
            list_unsubscribe=False,
            rates=["30/s"],
            batch_size=20,
        )
        closed = producer.start(
            "shop_reports",
            key="reports",
            jobs=[{"fails": 99, "error": "permanent", "message": f"shop {n} was closed"} for n in range(CLOSED)],
        )
        products.start(producer, "day_import")
        orders.start(producer, "day_import")
        day = BadDay(stack, database, server, products, orders, campaign, closed, recipients)
        wait_until(lambda: products.jobs_done() >= 5 and len(server.taken) >= 10, 60, "the work to be under way")
        yield day
