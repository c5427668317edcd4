"""Steering from the command line: every change asks who and why, and stands in the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runstate.statuses import RunStatus
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.ops_command import Ops
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")
WHY = ("--reason", "the shop closes", "--actor", "anna")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


def dead_letter() -> tuple[str, int]:
    """A completed run and its one dead letter."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "permanent", "message": "broken"}, {}])
    work_off(KEYED, run_id)
    return run_id, query("SELECT id FROM dead_letters")[0][0]


def test_pause_resume_and_cancel(ops: Ops) -> None:
    """Each says how the run stands now; the audit log has who and why."""
    run_id = planned(KEYED, n=3)
    assert ops("runs", "pause", run_id[:8], *WHY).code == 0
    assert run_of(run_id).status is RunStatus.PAUSED
    assert "paused" in ops("runs", "explain", run_id).out
    assert ops("runs", "resume", run_id, *WHY).code == 0
    assert ops("runs", "cancel", run_id, *WHY, "--json").document["status"] == "cancelling"
    assert query("SELECT action, actor, reason FROM audit_log ORDER BY id") == [
        (action, "anna", "the shop closes") for action in ("pause", "resume", "cancel")
    ]


def test_a_change_without_a_reason_is_not_made(ops: Ops) -> None:
    """The command says what is missing and changes nothing; so does a dry run."""
    run_id = planned(KEYED, n=1)
    ran = ops("runs", "pause", run_id)
    assert (ran.code, "--reason" in ran.err) == (2, True)
    assert "would pause" in ops("runs", "pause", run_id, "--dry-run").out
    assert run_of(run_id).status is RunStatus.RUNNING


def test_what_cannot_be_done_is_said(ops: Ops) -> None:
    """A run that does not stand there: exit 1; one that is not there: exit 3."""
    run_id = planned(KEYED, n=1)
    ran = ops("runs", "resume", run_id, *WHY)
    assert (ran.code, "it is running" in ran.err) == (1, True)
    assert ops("runs", "pause", "ffffffff", *WHY).code == 3


def test_recover_looks_at_the_heartbeat_that_was_seen(ops: Ops) -> None:
    """Healthy: refused. Stale, but moved since: refused. Stale as seen: recovered."""
    run_id = planned(KEYED, n=1)
    assert "not stale" in ops("runs", "recover", "--fail", run_id, *WHY).err
    execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 HOUR")
    moved = ops("runs", "recover", "--fail", run_id, *WHY, "--expect-heartbeat", "2026-01-01T00:00:00Z")
    assert (moved.code, "moved since you looked" in moved.err) == (1, True)
    seen = ops("runs", "show", run_id, "--json").document["run"]["heartbeat_at"]
    assert ops("runs", "recover", "--resume", run_id, *WHY, "--expect-heartbeat", seen).code == 0
    assert run_of(run_id).fence == 2


def test_letters_are_listed_grouped_shown_edited_and_replayed(ops: Ops) -> None:
    """From the first look to the replay, and a second replay finds nothing left."""
    run_id, letter = dead_letter()
    assert "broken" in ops("dead-letters", "list").out
    assert ops("dead-letters", "list", "--group", "--json").document[0]["count"] == 1
    assert "Traceback" in ops("dead-letters", "show", str(letter)).out
    assert ops("dead-letters", "edit", str(letter), "--payload", "{no", *WHY).code == 2
    assert ops("dead-letters", "edit", str(letter), "--payload", "{}", *WHY).code == 0
    dry = ops("dead-letters", "replay", "--all", "--kind", "keyed", "--dry-run")
    assert "would take 1 letters" in dry.out
    done = ops("dead-letters", "replay", str(letter), *WHY, "--json").document
    assert done["taken"] == 1
    assert done["replays"][0]["replay_run_id"] != run_id
    assert ops("dead-letters", "replay", "--all", *WHY, "--json").document["taken"] == 0


def test_letters_are_chosen_by_number_or_by_all(ops: Ops) -> None:
    """Nothing is replayed or discarded because a filter was forgotten."""
    _, letter = dead_letter()
    assert ops("dead-letters", "discard", *WHY).code == 2
    assert ops("dead-letters", "discard", "--all", "--fingerprint", "none", *WHY, "--json").document["letters"] == 0
    assert ops("dead-letters", "discard", str(letter), *WHY, "--json").document["letters"] == 1


def test_the_rest_of_a_failed_run_is_retried(ops: Ops) -> None:
    """As a run of its own, which names its parent."""
    run_id, _ = dead_letter()
    assert "1 dead" in ops("runs", "retry", run_id, "--dry-run").out
    done = ops("runs", "retry", run_id, *WHY, "--json").document
    assert run_of(done["replay_run_id"]).parent_run_id == run_id


def test_corrected_rejects_are_imported_with_the_arguments_of_their_run(ops: Ops, tmp_path: Path) -> None:
    """Same table, key and mode; only the file is another; the audit log has it."""
    execute(
        "INSERT INTO runs (run_id, kind, status, args, requested_at, requested_by) VALUES"
        " ('00000000-0000-0000-0000-000000000001', 'import', 'completed', :args, NOW(6), 'me')",
        args=json.dumps(
            {"source": "/old.csv", "target": "t", "key": ["id"], "mapping": {}, "mode": "upsert", "delimiter": ","}
            | {"encoding": "utf-8", "nulls": [""], "chunk_bytes": 100000, "max_rejects": None}
        ),
    )
    file = tmp_path / "mended.csv"
    file.write_text("id\n1\n")
    ran = ops("rejects", "replay", "00000000-0000-0000-0000-000000000001", "--file", str(file), *WHY, "--json")
    assert ran.code == 0, ran.err
    started = run_of(ran.document["run_id"])
    assert (started.args["source"], started.args["target"], started.args["key"]) == (str(file), "t", ["id"])
    assert query("SELECT action, actor FROM audit_log") == [("replay_rejects", "anna")]
