"""Alerts on real servers: each cause fires and clears, is told once through every channel, and survives whoever tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from locks.limits import RateLimiter
from ops.alerts.look import look_if_due, remember
from ops.alerts.outbox import send_due
from ops.alerts.watcher import Watcher
from ops.checks import fail, ok, warn
from ops.health import all_checks
from runstate import alerts, nodes
from runstate.audit import Actor
from runstate.transaction import in_transaction
from stack.endpoints import free_port
from stack.private import Servers
from tasks import clients, control
from tasks.registry import kinds_by_queue
from tests.integration.machinery import execute, planned, query, request, work_off
from tests.integration.ops_command import Ops
from tests.kinds import BRITTLE, KEYED

pytestmark = pytest.mark.usefixtures("machinery", "impatient")
OPERATOR = Actor("t", "r")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fires and clears at once, and no channel but the log."""
    for name in ("PATIENCE_S", "CALM_S"):
        monkeypatch.setenv(f"HOLDFAST_ALERT_{name}", "0.000001")
    monkeypatch.setenv("HOLDFAST_ALERT_STUCK_S", "60")
    monkeypatch.setenv("HOLDFAST_ALERT_BACKLOG_S", "60")
    clients.reset()


def status(cause: str) -> str | None:
    found = in_transaction(clients.engine(), alerts.find_alerts).get(cause)
    return found.status if found else None


def look() -> None:
    """Two looks: the first finds, the second has been patient for long enough."""
    for _ in range(2):
        remember(all_checks())


def beat(name: str, role: str, *queues: str) -> None:
    in_transaction(
        clients.engine(),
        lambda c: nodes.beat(c, name=name, boot="b" * 8, role=role, queues=queues, host="h", pid=1),
    )


def two_dispatchers() -> None:
    for name in ("d1", "d2"):
        beat(name, "dispatcher")


def letters() -> None:
    work_off(KEYED, planned(KEYED, n=1, do={"fails": 9, "error": "permanent"}))


def failing() -> None:
    run_id = planned(KEYED, n=20, key="failing")
    execute("UPDATE jobs SET state = 'done' WHERE run_id = :r", r=run_id)
    execute(
        "INSERT INTO job_attempts (run_id, job_no, claim_no, started_at, outcome) SELECT run_id, job_no, 1, NOW(6), 'retry'"
        " FROM jobs WHERE run_id = :r AND job_no > 0",
        r=run_id,
    )


def stuck() -> None:
    run_id = planned(KEYED, n=1, key="stuck")
    execute(
        "UPDATE jobs SET state = 'running', lease_until = NOW(6) + INTERVAL 1 HOUR WHERE run_id = :r AND job_no = 1",
        r=run_id,
    )
    execute(
        "UPDATE runs SET progress_at = NOW(6) - INTERVAL 90 SECOND, heartbeat_at = NOW(6) WHERE run_id = :r", r=run_id
    )


def stale() -> None:
    run_id = planned(BRITTLE, n=1, key="stale")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 HOUR, queued_at = due_at WHERE run_id = :r", r=run_id)
    execute(
        "UPDATE runs SET progress_at = NOW(6) - INTERVAL 1 HOUR, heartbeat_at = progress_at WHERE run_id = :r", r=run_id
    )


def everybody() -> None:
    """Two dispatchers and a worker on every queue: what is bad now is bad for a reason of its own."""
    two_dispatchers()
    beat("w", "worker", *kinds_by_queue(), "control")


def backlog() -> None:
    everybody()
    run_id = planned(KEYED, n=1, key="backlog")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 90 SECOND WHERE run_id = :r AND job_no = 1", r=run_id)


def paused() -> None:
    run_id = planned(KEYED, n=1, do={"fails": 1, "error": "resource"}, key="paused")
    work_off(KEYED, run_id)


def waiting_start() -> None:
    everybody()
    run_id = request(KEYED, key="waiting")
    execute("UPDATE runs SET requested_at = NOW(6) - INTERVAL 90 SECOND WHERE run_id = :r", r=run_id)


def wedged_queue() -> None:
    everybody()
    run_id = planned(KEYED, n=1, key="wedged")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 2 HOUR, claimed_at = due_at WHERE run_id = :r", r=run_id)
    execute(
        "UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 2 HOUR, started_at = heartbeat_at WHERE run_id = :r", r=run_id
    )


def end_all() -> None:
    for (run_id,) in query("SELECT run_id FROM runs WHERE status IN ('planning', 'running', 'paused')"):
        control.recover(run_id, OPERATOR, resume=False, force=True)


def discard_all() -> None:
    for (letter,) in query("SELECT id FROM dead_letters WHERE status = 'dead'"):
        control.discard(letter, OPERATOR)


@pytest.mark.parametrize(
    ("cause", "break_it", "mend_it"),
    [
        ("dispatchers", lambda: None, two_dispatchers),
        ("workers on imports", lambda: planned(KEYED, n=1), lambda: beat("w", "worker", "imports")),
        ("new dead letters", letters, discard_all),
        ("failures of keyed", failing, lambda: execute("DELETE FROM job_attempts")),
        ("stuck runs", stuck, end_all),
        ("stale runs", stale, end_all),
        ("backlog of keyed", backlog, end_all),
        ("paused by system", paused, end_all),
        ("starts", waiting_start, lambda: execute("DELETE FROM runs")),
        ("work on imports", wedged_queue, end_all),
        (
            "paused limits",
            lambda: RateLimiter(clients.redis()).pause("email:provider:default", 600, "454 throttled"),
            lambda: RateLimiter(clients.redis()).resume("email:provider:default"),
        ),
    ],
)
def test_each_cause_fires_and_clears(cause: str, break_it: Callable[[], object], mend_it: Callable[[], object]) -> None:
    """Broken it fires, mended it clears, by the same checks that `ops health` makes."""
    break_it()
    look()
    assert status(cause) == "firing"
    mend_it()
    look()
    look()
    assert status(cause) == "ok"


def firing() -> set[str]:
    """What fires now."""
    return {alert.cause for alert in in_transaction(clients.engine(), alerts.firing)}


def test_redis_fires_once_and_clears(servers: Servers) -> None:
    """Locks and messages in one server are one cause; what waits meanwhile calls for nobody of its own."""
    everybody()
    waiting_start()
    backlog()
    servers.valkey.kill()
    try:
        # Looking takes seconds while Redis is away, and nodes must not grow old meanwhile.
        everybody()
        look()
        assert firing() - {"dispatchers", "workers on imports"} == {"redis"}
    finally:
        servers.valkey.start()
    everybody()
    look()
    look()
    assert status("redis") == "ok"
    assert "starts" in firing(), "its own patience begins when what was behind it is mended"


def test_a_broker_of_its_own_is_a_cause_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the messages are in another server than the locks, either is told of."""
    monkeypatch.setenv("CELERY_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    clients.reset()
    for _ in range(2):
        remember([ok("redis", "locks"), fail("broker", "away", "mend it"), warn("starts", "wait", "see")])
    assert firing() == {"broker"}


def test_the_disk_fires_and_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free room below the threshold, and above it again."""
    for threshold, expected in ((1.1, "firing"), (0.0, "ok")):
        monkeypatch.setattr("ops.trouble.DISK_WARN", threshold)
        monkeypatch.setattr("ops.trouble.DISK_FAIL", threshold)
        look()
        look()
        assert status("disk") in ({"firing"} if expected == "firing" else {"ok"})


def test_what_is_behind_another_cause_is_told_once_that_is_mended() -> None:
    """A missing pool is one alert; if its backlog outlives it, that is another."""
    for _ in range(3):
        remember([fail("workers on imports", "none", "start it"), warn("backlog of keyed", "old", "more of them")])
    assert firing() == {"workers on imports"}
    for _ in range(3):
        remember([ok("workers on imports", "1"), warn("backlog of keyed", "old", "more of them")])
    assert firing() == {"backlog of keyed"}


def test_what_fires_already_is_not_cleared_by_a_worse_cause() -> None:
    """A backlog that was told of goes on when its pool dies, too."""
    for _ in range(2):
        remember([warn("backlog of keyed", "old", "more of them")])
    for _ in range(3):
        remember([fail("workers on imports", "none", "start it"), warn("backlog of keyed", "old", "more of them")])
    assert firing() == {"workers on imports", "backlog of keyed"}


def test_a_pool_that_is_off_on_purpose_calls_nobody() -> None:
    """A queue without a worker and without work is shown by `ops health`, and is no alert."""
    for _ in range(3):
        remember([warn("workers on sync", "none, and nothing waits for one", "start one")])
    assert firing() == set()


class Endpoint:
    """An HTTP endpoint that keeps what it is sent, and answers ``code``."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.code = 200
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(endpoint.code)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/s3cret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    endpoint = Endpoint()
    monkeypatch.setenv("ALERT_SLACK_URL", endpoint.url)
    clients.reset()
    yield endpoint
    endpoint.close()


@contextmanager
def mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    received: list[bytes] = []

    class Handler:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            received.append(envelope.content)
            return "250 OK"

    port = free_port()
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("EMAIL_PROVIDER_ALERTS", f"smtp://127.0.0.1:{port}?starttls=never")
    monkeypatch.setenv("ALERT_EMAIL_TO", "ops@example.com")
    monkeypatch.setenv("ALERT_EMAIL_FROM", "holdfast@example.com")
    clients.reset()
    try:
        yield received
    finally:
        controller.stop()


def bad(name: str = "x") -> None:
    for _ in range(2):
        remember([fail(name, "broken", "mend it")])


def test_one_notice_a_change_and_channel(hook: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fired once however often it is seen; cleared once; the plain webhook says the same."""
    monkeypatch.setenv("ALERT_WEBHOOK_URL", hook.url)
    clients.reset()
    for _ in range(5):
        bad()
    assert send_due() == 2
    remember([ok("x", "fine")])
    remember([ok("x", "fine")])
    assert (send_due(), send_due()) == (2, 0)
    assert [body["event"] for body in hook.bodies if "event" in body] == ["fired", "cleared"]
    assert [body["text"].split()[0] for body in hook.bodies if "text" in body] == ["[ALERT]", "[over]"]


def test_a_channel_that_refuses_is_tried_again(hook: Endpoint) -> None:
    """The notice waits in MySQL; what is kept of the failure holds no secret."""
    hook.code = 500
    bad()
    assert (send_due(), send_due()) == (1, 0)
    assert query("SELECT tries, sent_at, error FROM alert_notices") == [(1, None, "slack: answered 500")]
    hook.code = 200
    execute("UPDATE alert_notices SET due_at = NOW(6)")
    send_due()
    assert query("SELECT tries, sent_at IS NOT NULL, error FROM alert_notices") == [(2, 1, None)]


def test_an_endpoint_that_is_gone_is_no_secret_told(hook: Endpoint) -> None:
    """The URL, which is the secret, is in no error."""
    bad()
    hook.close()
    send_due()
    assert "s3cret" not in query("SELECT error FROM alert_notices")[0][0]


def test_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the provider that is called `alerts`."""
    with mail_server(monkeypatch) as received:
        bad("the thing")
        send_due()
    assert b"Subject: [ALERT] the thing on" in received[0]
    assert b"mend it" in received[0]


def test_two_beats_make_one_look() -> None:
    """Whoever comes second within the interval has nothing to do."""
    assert [look_if_due(60), look_if_due(60)] == [True, False]
    assert look_if_due(0)


def test_mysql_itself_is_told_of_without_mysql(hook: Endpoint, servers: Servers) -> None:
    """Each beat remembers for itself: told once, and once that it is over."""
    watcher = Watcher()
    servers.mariadb.kill()
    try:
        for _ in range(3):
            watcher.once(0)
        assert [body["text"].split()[:2] for body in hook.bodies] == [["[ALERT]", "mysql"]]
    finally:
        servers.mariadb.start()
    watcher.once(3600)
    assert [body["text"].split()[:2] for body in hook.bodies] == [["[ALERT]", "mysql"], ["[over]", "mysql"]]


def test_the_commands(hook: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    """`alerts list` exits 1 while something fires; `alerts test` says which channel works."""
    ops = Ops(capsys)
    assert ops("alerts", "list").code == 0
    bad()
    listed = ops("alerts", "list", "--json")
    assert (listed.code, [alert["cause"] for alert in listed.document]) == (1, ["x"])
    assert ops("alerts", "test", "--json").document == {"slack": "sent"}
    hook.code = 404
    refused = ops("alerts", "test")
    assert (refused.code, "answered 404" in refused.out) == (1, True)
