"""Campaigns on real workers, the mail server they send to, and what became of every recipient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.email.kind import CAMPAIGN
from tests.e2e.faults_database import Database, Failpoints
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until
from tests.email_server import ScriptedServer, scripted_server

LEASE_S = 3
QUICK_CAMPAIGN = replace(
    CAMPAIGN, name="quick_campaign", start_name="start_quick_campaign", lease_s=LEASE_S, max_crashes=50
)
"""A lost claim is found after 3 s instead of 15, and a job that is killed again and again stays a job."""
PAUSE_S = 3


def stack_settings(port: int, failpoints: Path, **more: str) -> dict[str, str]:
    """Two workers that send to a server on ``port``."""
    return {
        "HOLDFAST_KINDS": f"{__name__}:QUICK_CAMPAIGN",
        "HOLDFAST_FAILPOINTS": str(failpoints),
        "HOLDFAST_IMPORTS_PROCESSES": "0",
        "HOLDFAST_EMAIL_PROCESSES": "2",
        "EMAIL_PROVIDER_DEFAULT": f"smtp://127.0.0.1:{port}?starttls=never&pause={PAUSE_S}",
    } | more


@dataclass
class Outcome:
    """What became of a campaign; ``problems`` is empty if every promise held."""

    states: Counter[str]
    copies: Counter[str]
    problems: list[str] = field(default_factory=list)


class EmailLab:
    """A stack with an email pool, its mail server, a producer, and a look into its database."""

    def __init__(self, stack: Stack, server: ScriptedServer, producer: Producer) -> None:
        self.stack = stack
        self.server = server
        self.producer = producer
        self.database = Database(stack.servers)
        self.failpoints = Failpoints(Path(stack.environment["HOLDFAST_FAILPOINTS"]))

    def start(self, name: str, recipients: int, **options: Any) -> str:
        """Start a campaign to p0@… p1@… ; the run's id."""
        defaults: dict[str, Any] = {
            "template": {"text": "Hello {{ name }}"},
            "subject": "For {{ name }}",
            "sender": "news@sender.example.com",
            "list_unsubscribe": False,
            "rates": None,
            "retry_s": 1,
        }
        people = [{"email": f"p{n}@example.com", "name": f"P{n}"} for n in range(recipients)]
        return self.producer.start("quick_campaign", name=name, recipients=people, **(defaults | options))

    def status(self, run_id: str) -> str:
        return str(self.database.value("SELECT status FROM runs WHERE run_id = %s", run_id))

    def wait_ended(self, run_id: str, timeout_s: float = 60.0) -> None:
        ended = ("completed", "failed", "cancelled", "refused")
        wait_until(lambda: self.status(run_id) in ended, timeout_s, f"run {run_id} to end")
        assert self.status(run_id) == "completed"

    def wait_sent(self, messages: int, timeout_s: float = 30.0) -> None:
        wait_until(lambda: len(self.server.taken) >= messages, timeout_s, f"{messages} messages")

    def ops(self, *arguments: str) -> None:
        """Run an operator's command."""
        self.stack.run("-m", "ops", *arguments)

    def outcome(self, name: str, recipients: int) -> Outcome:
        """The ledger against what the server has."""
        rows = self.database.rows("SELECT address, state FROM email_recipients WHERE campaign = %s", name)
        found = Outcome(Counter(state for _, state in rows), Counter(self.server.recipients()))
        states = dict(rows)
        expected = {f"p{n}@example.com" for n in range(recipients)}
        if states.keys() != expected:
            found.problems.append(f"the ledger has {len(states)} of {recipients} recipients")
        for address in sorted(expected):
            copies, state = found.copies[address], states.get(address)
            if copies > 1:
                found.problems.append(f"{address} got {copies} copies and is {state}")
            if state == "sent" and copies != 1:
                found.problems.append(f"{address} is said to be sent and got {copies}")
            if state not in ("sent", "in_doubt"):
                found.problems.append(f"{address} is left {state} with {copies} copies")
        return found


@contextmanager
def email_lab(stack: Stack, port: int) -> Iterator[EmailLab]:
    """A server on ``port`` and a producer, for one test."""
    with scripted_server(port=port) as server, Producer(stack.environment) as producer:
        lab = EmailLab(stack, server, producer)
        try:
            yield lab
        finally:
            lab.failpoints.clear()
