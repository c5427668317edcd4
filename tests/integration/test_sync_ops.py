"""``ops sync``: what stands open between two sides, as operators see and settle it."""

from __future__ import annotations

from typing import Any

import pytest

from ops import exits
from tasks.settings import settings
from tasks.sync.connections import forget_connectors
from tasks.sync.connector import Unreadable
from tests.integration.machinery import execute, query
from tests.integration.ops_command import Ops
from tests.integration.sync_machinery import api, change, items, sync
from tests.sync_api import Api, fresh

__all__ = ["api"]
WHY = ("--reason", "looked at it", "--actor", "ann")
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def ops(api: Api, capsys: pytest.CaptureFixture[str]) -> Ops:
    return Ops(capsys)


@pytest.fixture
def clash(ops: Ops) -> tuple[int, int]:
    """A row and a record that both changed their price, which a person decides; the conflict's and the row's number."""
    api = fresh(policies={"price": "manual"})
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    row = next(iter(items()))
    change("UPDATE items SET price = 2 WHERE id = :i", row, i=row)
    api.put("a", price="3.00")
    sync()
    return query("SELECT id FROM sync_conflicts WHERE open = 1")[0][0], row


def price(row: int) -> str:
    return str(items()[row][1])


def audited() -> list[tuple[str, str, str, str]]:
    return [tuple(row) for row in query("SELECT actor, action, subject, reason FROM audit_log ORDER BY id")]


def test_the_standing_of_each_kind_of_record(ops: Ops, clash: tuple[int, int]) -> None:
    """Links, what waits, what a person has to see to, and the last full listing: as text, and as JSON."""
    from tests.sync_api import API

    API.put("b", name="x" * 21, price="1.00", stock=1)
    sync()
    change("UPDATE items SET stock = 5", clash[1])
    (found,) = ops("sync", "status", "--json").document
    assert {k: found[k] for k in ("connection", "kind", "links", "pending", "conflicts", "rejects")} == {
        "connection": "memory", "kind": "items", "links": 1, "pending": 1, "conflicts": 1, "rejects": 1
    }  # fmt: skip
    assert found["oldest_pending_s"] >= 0 and found["full_age_s"] >= 0
    said = ops("sync", "status", "memory")
    assert said.code == exits.OK
    assert "memory/items: 1 links, 1 pending (oldest" in said.out
    assert "1 conflicts, 1 rejects, listed in full" in said.out


def test_a_conflict_is_listed_and_settled_for_a_reason(ops: Ops, clash: tuple[int, int]) -> None:
    """With both values and what both had; who settled it, and why, is in the audit log, and the next run pushes it."""
    from tests.sync_api import API

    number, row = clash
    (found,) = ops("sync", "conflicts", "list", "--json").document
    assert (found["id"], found["field"], found["base"], found["local"], found["remote"]) == (
        number, "price", "1.00", "2.00", "3.00"
    )  # fmt: skip
    assert (found["local_id"], found["remote_id"]) == (str(row), "a")
    assert f"{number}  memory/items row {row}, record a: price was '1.00'" in ops("sync", "conflicts", "list").out
    done = ops("sync", "conflicts", "resolve", str(number), "--keep", "local", *WHY)
    assert done.code == exits.OK and "price is '2.00'; the next run of memory/items goes on" in done.out
    assert audited() == [("ann", "resolve_conflict", f"sync_conflict:{number}", "looked at it")]
    assert "no field waits" in ops("sync", "conflicts", "list").out
    sync()
    assert API.live()["a"]["price"] == "2.00" and price(row) == "2.00"


@pytest.mark.parametrize("which, kept", [(("--keep", "remote"), "3.00"), (("--value", '"4.00"'), "4.00")])
def test_a_dry_run_says_what_would_be_kept_and_changes_nothing(
    ops: Ops, clash: tuple[int, int], which: tuple[str, str], kept: str
) -> None:
    """It needs no reason; the real one does, and keeps just that."""
    number, row = clash
    words = ("sync", "conflicts", "resolve", str(number), *which)
    dry = ops(*words, "--dry-run", "--json")
    assert dry.code == exits.OK
    assert (dry.document["dry_run"], dry.document["kept"], dry.document["before"]) == ("would resolve", kept, "2.00")
    assert "would be" in ops(*words, "--dry-run").out
    assert price(row) == "2.00" and audited() == []
    assert query("SELECT COUNT(*) FROM sync_conflicts WHERE open = 1") == [(1,)]
    refused = ops(*words)
    assert refused.code == exits.USAGE and "--reason" in refused.err
    assert ops(*words, *WHY, "--json").document["kept"] == kept
    assert price(row) == kept


def test_what_cannot_be_settled_says_why(ops: Ops, clash: tuple[int, int]) -> None:
    """Bad values, no such conflict, one that was settled before: nothing changes, and scripts can tell them apart."""
    number, row = clash
    words = ("sync", "conflicts", "resolve")
    for arguments, code, said in (
        ((str(number), "--value", "4.00 Euro"), exits.USAGE, "not JSON"),
        ((str(number), "--value", '"4.005"'), exits.TROUBLE, "more than 2 digits"),
        ((str(number), "--value", "null", "--keep", "local"), exits.USAGE, "not allowed"),
        ((str(number),), exits.USAGE, "required"),
        ((str(number), "--keep", "both"), exits.USAGE, "invalid choice"),
        (("x", "--keep", "local"), exits.USAGE, "invalid"),
        (("999999", "--keep", "local"), exits.NOT_FOUND, "there is no conflict 999999"),
    ):
        ran = ops(*words, *arguments, *WHY)
        assert (ran.code, said in ran.err) == (code, True), (arguments, ran)
    assert price(row) == "2.00" and audited() == []
    assert ops(*words, str(number), "--keep", "local", *WHY).code == exits.OK
    again = ops(*words, str(number), "--keep", "remote", *WHY, "--json")
    assert again.code == exits.TROUBLE and "was resolved already by ann" in again.document["error"]["message"]
    assert price(row) == "2.00"


def test_a_row_that_was_edited_since_is_not_overwritten(ops: Ops, clash: tuple[int, int]) -> None:
    """By nobody who has not seen the edit: the refusal says what it is now, and so does the list."""
    number, row = clash
    execute("UPDATE items SET price = 7 WHERE id = :i", i=row)
    words = ("sync", "conflicts", "resolve", str(number), "--keep", "remote")
    dry = ops(*words, "--dry-run")
    assert dry.code == exits.TROUBLE and "is '7.00' now, not '2.00'" in dry.err
    assert ops("sync", "conflicts", "list", "--json").document[0]["local"] == "2.00"
    refused = ops(*words, *WHY)
    assert refused.code == exits.TROUBLE and "is '7.00' now, not '2.00'" in refused.err
    assert price(row) == "7.00"
    assert ops("sync", "conflicts", "list", "--json").document[0]["local"] == "7.00"
    assert ops(*words, *WHY).code == exits.OK
    assert price(row) == "3.00"


def test_rejects_are_listed_and_tried_again_for_a_reason(ops: Ops) -> None:
    """Newest first, with code and reason; a dry run counts, the real one is audited, and the next run tries them."""
    from tests.sync_api import API

    for n in range(3):
        API.put(f"a{n}", name="x" * 30, price="1.00", stock=1)
    sync()
    listed = ops("sync", "rejects", "list", "memory", "--json", "--limit", "2").document
    assert [(one["direction"], one["code"]) for one in listed] == [("pull", "too_long")] * 2
    assert listed[0]["record"]["name"] == "x" * 30
    assert "memory/items r:a0 pull too_long: name: 30 characters, 20 fit" in ops("sync", "rejects", "list").out
    words = ("sync", "rejects", "retry", "memory", "items")
    assert ops(*words, "--dry-run", "--json").document == {"dry_run": "would retry", "rejects": 3}
    assert "would have 3 tried again" in ops(*words, "--dry-run").out
    assert ops(*words).code == exits.USAGE
    execute("ALTER TABLE items MODIFY name VARCHAR(40) NOT NULL")
    done = ops(*words, *WHY, "--json")
    assert (done.code, done.document) == (exits.OK, {"retried": 3})
    assert audited() == [("ann", "retry_sync_rejects", "sync:memory/items", "looked at it")]
    assert "nothing is rejected" in ops("sync", "rejects", "list").out
    sync()
    assert len(items()) == 3


def test_what_is_no_record_is_not_asked_for(ops: Ops) -> None:
    """It has no id that the API knows: tried again it is forgotten, and noted anew by the next listing that shows it."""
    from tests.sync_api import API

    real, shown = API.list_changes, [True]

    def with_a_piece(*args: Any, **kwargs: Any) -> Any:
        page = real(*args, **kwargs)
        object.__setattr__(page, "unreadable", [Unreadable("no id", "[]")] if shown[0] else [])
        return page

    API.list_changes = with_a_piece  # type: ignore[method-assign]
    sync()
    API.log.clear()
    for still_there in (True, False):
        shown[0] = still_there
        assert ops("sync", "rejects", "retry", "memory", "items", *WHY, "--json").document == {"retried": 1}
        sync()
        assert {op for op, _ in API.log} == {"list"}
        found = ops("sync", "rejects", "list", "--json").document
        assert [one["code"] for one in found] == (["no_record"] if still_there else [])


def test_a_plan_is_shown_field_by_field(ops: Ops) -> None:
    """Each entry, both sides; as JSON with what became of it; of a plan that is longer than asked, how much is left."""
    from tests.sync_api import API

    for name in "ab":
        API.put(name, name=name, price="1.00", stock=1)
    plan = sync(dry_run=True).run_id
    shown = ops("sync", "plan", "show", plan, "--json")
    assert shown.document["counts"] == {"planned": 2}
    assert shown.document["entries"][0]["local"]["fields"]["name"] == [None, "a"]
    said = ops("sync", "plan", "show", plan[:13], "--limit", "1").out
    assert "row -, record a (planned)" in said and "table create: name None → 'a'" in said
    assert "… and 1 more" in said
    sync()
    empty = sync(dry_run=True).run_id
    assert "both sides are the same" in ops("sync", "plan", "show", empty).out


def test_what_is_not_there_is_said(ops: Ops) -> None:
    """One line that names what there is, exit code 3, and with --json the same as a document."""
    for words in (
        ("status", "nobody"),
        ("conflicts", "list", "nobody"),
        ("rejects", "list", "nobody"),
        ("rejects", "retry", "nobody", "items", *WHY),
        ("rejects", "retry", "memory", "nothing", *WHY),
        ("rejects", "retry", "memory", "nothing", "--dry-run"),
        ("plan", "show", NOBODY),
        ("plan", "show", "not a run"),
    ):
        ran = ops("sync", *words)
        assert ran.code == exits.NOT_FOUND and ran.err.startswith("ops: ") and ran.err.count("\n") == 1, (words, ran)
        assert ops("sync", *words, "--json").document["error"]["message"] in ran.err
    assert audited() == []


def test_a_run_that_made_no_plan_is_called_so(ops: Ops) -> None:
    """Rather than an empty plan."""
    ran = ops("sync", "plan", "show", sync().run_id)
    assert ran.code == exits.NOT_FOUND and "made no plan" in ran.err


def test_a_setting_that_names_no_connection_is_a_usage_error(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting's name, and no traceback; one that names none at all is no failure."""
    for setting in ("no_such_module:X", "tests.sync_api", "tests.sync_api:ITEMS", ""):
        monkeypatch.setenv("HOLDFAST_SYNC", setting)
        settings.cache_clear()
        forget_connectors()
        ran = ops("sync", "status")
        if setting:
            assert ran.code == exits.USAGE and "HOLDFAST_SYNC" in ran.err and setting in ran.err
        else:
            assert ran.code == exits.OK and "HOLDFAST_SYNC" in ran.out
            assert ops("sync", "status", "--json").document == []
