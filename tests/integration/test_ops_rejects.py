"""``ops rejects export``: what an import rejected comes out as a file that can be corrected and imported again."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.layout import PROJECT
from tasks import clients
from tasks.imports.kind import IMPORT
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.ops_command import Ops
from tests.kinds import KEYED

FILE = 'sku,name,price\nA1,"lamp, round",9.50\nA2,chair,cheap\nA3,"two\nlines",nothing\nA4,table,5\n'


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


@pytest.fixture
def run_id(machinery: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An import of four rows, two of them bad."""
    monkeypatch.setenv("IMPORT_ROOTS", str(tmp_path))
    clients.reset()
    execute("CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, name VARCHAR(40), price DECIMAL(8,2)) CHARSET=utf8mb4")
    yield imported(tmp_path / "f.csv", FILE)
    clients.reset()


def imported(path: Path, content: str) -> str:
    path.write_text(content, newline="")
    run_id = planned(IMPORT, source=path, target="products", key=["sku"])
    work_off(IMPORT, run_id)
    assert run_of(run_id).status == "completed", run_of(run_id).reason
    return run_id


def test_corrected_rejects_can_be_imported_again(ops: Ops, run_id: str, tmp_path: Path) -> None:
    """Export, correct, import: the two rows that were missing are there."""
    out = tmp_path / "rejects.csv"
    exported = ops("rejects", "export", run_id, "--out", str(out))
    assert exported.code == 0
    assert "2 rejects" in exported.err and not exported.out
    assert not list(tmp_path.glob(".*.part"))
    corrected = out.read_bytes().decode().replace("cheap", "1.00").replace("nothing", "2.00")
    imported(tmp_path / "corrected.csv", corrected)
    assert [tuple(map(str, row)) for row in query("SELECT sku, name, price FROM products ORDER BY sku")] == [
        ("A1", "lamp, round", "9.50"),
        ("A2", "chair", "1.00"),
        ("A3", "two\nlines", "2.00"),
        ("A4", "table", "5.00"),
    ]


def test_without_a_file_the_rejects_go_to_standard_output(run_id: str) -> None:
    """``rejects export RUN > file`` writes the very bytes."""
    command = [sys.executable, "-m", "ops", "rejects", "export", run_id]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, env=os.environ)
    lines = done.stdout.split(b"\n")
    assert lines[0].endswith(b",sku,name,price")
    assert lines[1].startswith(b"3,price,") and lines[1].endswith(b",A2,chair,cheap")
    assert b'A3,"two\nlines",nothing\n' in done.stdout


def test_for_scripts_rejects_are_objects(ops: Ops, run_id: str, tmp_path: Path) -> None:
    """Line, column, code, reason, and the row as text and as bytes; with --out what was written."""
    found = ops("rejects", "export", run_id, "--json").document
    assert [(reject["line"], reject["column"], reject["text"]) for reject in found] == [
        (3, "price", "A2,chair,cheap"),
        (4, "price", 'A3,"two\nlines",nothing'),
    ]
    assert base64.b64decode(found[0]["base64"]) == b"A2,chair,cheap"
    out = str(tmp_path / "out.csv")
    assert ops("rejects", "export", run_id, "--json", "--out", out).document == {
        "run_id": run_id,
        "exported": 2,
        "cut": 0,
        "out": out,
    }


def test_a_run_that_is_no_import_has_no_rejects(ops: Ops, run_id: str) -> None:
    """Exit code 2 and why."""
    failed = ops("rejects", "export", planned(KEYED, n=1))
    assert failed.code == 2
    assert "only imports have rejects" in failed.err


def test_a_file_that_cannot_be_written_is_trouble_and_leaves_nothing(ops: Ops, run_id: str, tmp_path: Path) -> None:
    """Exit code 1, a sentence, and no half file."""
    failed = ops("rejects", "export", run_id, "--out", str(tmp_path / "nowhere" / "out.csv"), "--json")
    assert failed.code == 1
    assert json.loads(failed.out)["error"]["class"] == "FileNotFoundError"
    assert not (tmp_path / "nowhere").exists()
