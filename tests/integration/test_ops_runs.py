"""``ops runs list`` and ``show``: what they show, in both forms, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runstate.statuses import RunStatus
from stack.layout import PROJECT
from stack.private import Servers
from tasks.envelope import run_jobs
from tests.integration.machinery import admitted, execute, planned, run_of, work_off
from tests.integration.ops_command import Ops
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


def test_runs_are_listed_newest_first_with_what_became_of_them(ops: Ops) -> None:
    """A list has every run with its status and its jobs."""
    first = planned(KEYED, n=3)
    work_off(KEYED, first)
    second = planned(KEYED, n=2)
    refused = admitted(KEYED)
    listed = ops("runs", "list", "--json")
    assert listed.code == 0
    assert [(run["run_id"], run["status"]) for run in listed.document] == [
        (refused, "refused"),
        (second, "running"),
        (first, "completed"),
    ]
    assert listed.document[2]["jobs_done"] == listed.document[2]["jobs_total"] == 3
    assert listed.document[0]["requested_at"].endswith("Z")


def test_a_list_can_be_narrowed(ops: Ops) -> None:
    """Status, kind, key and limit choose runs."""
    done = planned(KEYED, key="a", n=1)
    work_off(KEYED, done)
    running = planned(KEYED, key="b", n=1)
    free = admitted(FREE, n=1)

    def ids(*options: str) -> list[str]:
        return [run["run_id"] for run in ops("runs", "list", "--json", *options).document]

    assert ids("--status", "completed") == [done]
    assert ids("--status", "active") == [free, running]
    assert ids("--status", "active", "--status", "completed") == [free, running, done]
    assert ids("--kind", "free") == [free]
    assert ids("--key", "a") == [done]
    assert ids("--limit", "1") == [free]


def test_in_a_pipe_every_run_is_one_whole_line(ops: Ops) -> None:
    """Text for grep and awk: no line is wrapped, cut, coloured, or forged by somebody's key."""
    run_id = planned(KEYED, key="long " * 60 + "\n\x1b[31mforged line\x1b[0m [red]", n=1)
    printed = ops("runs", "list")
    header, line = printed.out.splitlines()
    assert header.startswith("RUN ") and line.startswith(run_id)
    assert "long " * 60 + r"\n\x1b[31mforged line\x1b[0m [red]" in line
    assert "\x1b" not in printed.out


def test_a_run_is_shown_with_its_jobs_attempts_and_errors(ops: Ops) -> None:
    """Everything an operator asks first: what it is, how far, what went wrong."""
    run_id = planned(KEYED, jobs=[{}, {"fails": 9, "error": "retry", "delay_s": 60, "message": "no such warehouse"}])
    for job_no in (1, 2):
        run_jobs(KEYED, run_id, job_no, "test")
    shown = ops("runs", "show", run_id, "--json")
    assert shown.code == 0
    facts = shown.document
    assert (facts["run"]["run_id"], facts["run"]["status"], facts["queue"]) == (run_id, "running", "imports")
    assert facts["run"]["args"]["jobs"][1]["message"] == "no such warehouse"
    assert facts["jobs"]["work"] == {"done": 1, "pending": 1}
    assert [job["last_error"] for job in facts["troubled_jobs"]] == ["no such warehouse"]
    assert {attempts["outcome"]: attempts["count"] for attempts in facts["attempts"]} == {"done": 2, "retry": 1}
    text = ops("runs", "show", run_id).out
    assert "job 2 is pending after 1 attempts" in text and "1 done, 1 pending" in text


def test_a_shown_run_tells_its_dead_letters(ops: Ops) -> None:
    """Dead letters are grouped by what went wrong."""
    run_id = planned(KEYED, n=3, do={"fails": 9, "error": "permanent", "message": "no such warehouse"})
    work_off(KEYED, run_id)
    shown = ops("runs", "show", run_id, "--json").document
    assert [(group["count"], group["example"]) for group in shown["dead_letters"]] == [(3, "no such warehouse")]
    text = ops("runs", "show", run_id).out
    assert "3 dead letters" in text and "no such warehouse" in text and "completed" in text


def test_the_beginning_of_a_run_id_is_enough(ops: Ops) -> None:
    """As with commits; one that fits several runs is refused and names them."""
    run_id = planned(KEYED, n=1)
    assert ops("runs", "show", run_id[:8], "--json").document["run"]["run_id"] == run_id
    for number in (1, 2):
        execute(
            "INSERT INTO runs (run_id, kind, status, args, requested_at, requested_by)"
            " VALUES (:run_id, 'keyed', 'refused', '{}', NOW(6), 'me')",
            run_id=f"{run_id[:8]}-0000-0000-0000-00000000000{number}",
        )
    ambiguous = ops("runs", "show", run_id[:8])
    assert ambiguous.code == 2
    assert run_id in ambiguous.err


@pytest.mark.parametrize("given", ["00000000-0000-0000-0000-000000000000", "%", "x' OR 1=1", ""])
def test_a_run_that_is_not_there_is_exit_code_3(ops: Ops, given: str) -> None:
    """Scripts can tell a missing run from trouble."""
    planned(KEYED, n=1)
    shown = ops("runs", "show", given, "--json")
    assert shown.code == 3
    assert shown.document["error"]["class"] == "NotFound"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("runs",),
        ("runs", "list", "--status", "lost"),
        ("runs", "list", "--limit", "0"),
        ("runs", "show"),
        ("runs", "watch", "x", "--interval", "0"),
        ("nonsense",),
    ],
)
def test_a_command_that_is_not_understood_is_exit_code_2(ops: Ops, arguments: tuple[str, ...]) -> None:
    """Usage errors say what would do, on standard error."""
    failed = ops(*arguments)
    assert failed.code == 2
    assert "usage:" in failed.err and not failed.out


def test_without_mysql_a_command_is_trouble_and_says_so(ops: Ops, servers: Servers) -> None:
    """MySQL down: exit code 1 and a sentence, in JSON as well, no traceback."""
    servers.mariadb.kill()
    try:
        failed = ops("runs", "list", "--json")
    finally:
        servers.mariadb.start()
    assert failed.code == 1
    assert failed.document["error"]["class"] == "DatabaseUnavailable"
    assert "MySQL does not answer" in failed.err


def test_without_tables_a_command_says_how_to_make_them(ops: Ops) -> None:
    """A database that was never migrated: exit code 1 and the command that mends it."""
    execute("RENAME TABLE runs TO runs_away")
    try:
        failed = ops("runs", "list")
    finally:
        execute("RENAME TABLE runs_away TO runs")
    assert failed.code == 1
    assert "python -m runstate.migrate" in failed.err


def test_the_command_line_runs_as_documented() -> None:
    """``python -m ops runs list --json`` prints JSON and exits 0; a reader that leaves early is no error."""
    run_id = planned(KEYED, n=1)
    command = [sys.executable, "-m", "ops", "runs", "list", "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    assert [run["run_id"] for run in json.loads(done.stdout)] == [run_id]
    piped = f"{sys.executable} -m ops runs show {run_id} | true; exit ${{PIPESTATUS[0]}}"
    left = subprocess.run(["bash", "-c", piped], cwd=PROJECT, capture_output=True, check=False)
    assert (left.returncode, left.stderr) == (0, b"")
    assert run_of(run_id).status is RunStatus.RUNNING


def test_a_run_whose_arguments_nobody_checked_is_shown(ops: Ops) -> None:
    """It came by name and was refused for them: what it is about cannot be said, everything else can."""
    run_id = planned(KEYED, n=1)
    execute("UPDATE runs SET kind = 'import', args = '{\"surprise\": 1}' WHERE run_id = :r", r=run_id)
    shown = ops("runs", "show", run_id)
    assert (shown.code, "surprise" in shown.out) == (0, True)
