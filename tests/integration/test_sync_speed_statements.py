"""Rows written as literals arrive as they are, whatever is in them, and no statement is longer than the server takes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tasks import clients
from tasks.sync import audit, links, outbox
from tasks.sync.audit import Change
from tasks.sync.links import Link, Pair
from tasks.sync.merge import Base
from tasks.sync.statements import MAX_CHARACTERS, execute, literals, write_rows

pytestmark = pytest.mark.usefixtures("machinery")
PAIR = Pair("memory", "items")
NASTY = [
    "",
    "'",
    "''",
    "\\",
    "\\'",
    "' OR 1=1 -- ",
    "%s",
    "100 %",
    "a\nb\r\t\0c",
    "ü€😀",
    '"',
    "`",
    "\x1a",
    "\\'; DROP TABLE x; --",
]


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"])
def test_every_value_comes_back_as_it_is(mode: str) -> None:
    """Quotes, backslashes, percent signs, NUL: in each of the server's ways to read literals."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - as the server's DATETIME columns give it
    values: list[Any] = [*NASTY, None, 0, -(2**63), 2**64 - 1, 1.5]
    with clients.engine().connect() as connection:
        _mode(connection, mode)
        literal = literals(connection)
        row = execute(connection, f"SELECT {', '.join(map(literal, values))}").one()
        times = execute(connection, f"SELECT CAST({literal(at)} AS DATETIME(6))").scalar_one()
        _mode(connection, "")
    assert [value if not hasattr(value, "as_tuple") else float(value) for value in row] == values
    assert times == at


def _mode(connection: Connection, mode: str) -> None:
    connection.execute(text("SET SESSION sql_mode = CONCAT('STRICT_TRANS_TABLES,', :m)"), {"m": mode})


def test_long_rows_go_in_several_statements() -> None:
    """Links of large records, of which a few hundred would be more than a packet, are stored all the same."""
    large = {"text": "ü'\\" * 30_000}
    base = Base(large, large)
    with clients.engine().begin() as connection:
        some = [Link(None, f"{n}", f"r{n}", "1", base, read_at=links.now(connection)) for n in range(300)]
        links.save(connection, PAIR, some)
        audit.write(connection, PAIR, None, [Change("1", "r1", "local", "create", None, large) for _ in range(300)])
        outbox.add(connection, PAIR, [f"l:{n}" for n in range(300)])
        entries = outbox.between(connection, PAIR, 0, 10**9)
        outbox.intend(connection, {entry.id: {"columns": large} for entry in entries})
    with clients.engine().connect() as connection:
        found = links.by_remote(connection, PAIR, [f"r{n}" for n in range(300)], lock=False)
        assert len(found) == 300 and all(link.base.remote == large for link in found.values())
        assert connection.execute(text("SELECT COUNT(*) FROM sync_audit")).scalar_one() == 300
        assert all((e.intent or {})["columns"] == large for e in outbox.between(connection, PAIR, 0, 10**9))


def test_no_rows_are_no_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """And many short ones are one."""
    run: list[str] = []
    monkeypatch.setattr("tasks.sync.statements.execute", lambda _c, statement: run.append(statement))
    write_rows(None, "INSERT ", [])  # type: ignore[arg-type]
    assert run == []
    write_rows(None, "INSERT ", ["(1)"] * 1000, " END")  # type: ignore[arg-type]
    assert run == ["INSERT " + ", ".join(["(1)"] * 1000) + " END"]
    write_rows(None, "", ["x" * (MAX_CHARACTERS // 2 - 10)] * 5)  # type: ignore[arg-type]
    assert [len(statement) // MAX_CHARACTERS for statement in run[1:]] == [0, 0, 0] and len(run) == 4
