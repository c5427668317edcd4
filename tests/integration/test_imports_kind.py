"""An import from its start to its result, through the machinery, and what becomes of bad files and bad rows."""

from __future__ import annotations

import csv
import gc
import io
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks import clients
from tasks.envelope import run_jobs
from tasks.imports.kind import COUNTS, IMPORT, import_chunk, plan_import
from tasks.imports.rejects import export_rejects, import_rejects
from tests.integration.machinery import execute, planned, query, run_of, work_off

PRODUCTS = (
    "CREATE TABLE products (id BIGINT AUTO_INCREMENT PRIMARY KEY, sku VARCHAR(20) NOT NULL, name VARCHAR(40), "
    "price DECIMAL(8,2) NOT NULL, stock INT, mine VARCHAR(9) DEFAULT 'mine', UNIQUE KEY uq_sku (sku)) CHARSET=utf8mb4"
)
LEDGER = "CREATE TABLE ledger (line INT NOT NULL, note VARCHAR(40))"


@pytest.fixture
def folder(machinery: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one folder that imports may read, and the two tables that they write."""
    monkeypatch.setenv("IMPORT_ROOTS", str(tmp_path))
    clients.reset()
    execute(PRODUCTS)
    execute(LEDGER)
    yield tmp_path
    clients.reset()


def start(source: Path, target: str = "products", **options: Any) -> str:
    """Plan an import; the run's id."""
    return planned(IMPORT, **({"source": source, "target": target, "key": ["sku"], "chunk_bytes": 300} | options))


def run(source: Path, target: str = "products", **options: Any) -> Run:
    """Import, from start to end."""
    run_id = start(source, target, **options)
    work_off(IMPORT, run_id)
    return run_of(run_id)


def write(folder: Path, text: str | bytes, name: str = "f.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def counted(run: Run) -> dict[str, int]:
    """The run's counts that are not zero; they must add up, and be the sums of its jobs'."""
    assert run.status is RunStatus.COMPLETED, run.reason
    assert run.result is not None
    counts = {name: run.result[name] for name in COUNTS}
    assert counts["rows"] == sum(counts[name] for name in COUNTS[1:])
    return {name: count for name, count in counts.items() if count}


def rejects(run: Run) -> list[tuple[int, str | None, str, bytes]]:
    rows = query(
        "SELECT line_no, column_name, code, raw FROM import_rejects WHERE run_id = :r ORDER BY line_no", r=run.run_id
    )
    return [tuple(row) for row in rows]


def good_file(rows: int) -> str:
    """Rows with quotes, line ends in quotes, accents, and keys out of order."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["sku", "name", "price", "stock"])
    for n in range(rows):
        writer.writerow([f"S{n * 7 % rows:05d}", f'Größe "{n}",\nzwei', f"{n}.50", n if n % 3 else ""])
    return out.getvalue()


def test_a_file_is_imported_once_and_again_changes_nothing(folder: Path) -> None:
    """Every row arrives as it stands in the file; the second run says that nothing changed, and touches nothing."""
    path = write(folder, good_file(200))
    first = run(path)
    assert counted(first) == {"rows": 200, "inserted": 200}
    assert first.jobs_total is not None and first.jobs_total > 20
    expected = [(r[0], r[1], r[2], r[3] or None) for r in csv.reader(io.StringIO(good_file(200), newline=""))][1:]
    stored = query("SELECT sku, name, CAST(price AS CHAR), CAST(stock AS CHAR) FROM products")
    assert sorted(tuple(row) for row in stored) == sorted(expected)
    execute("UPDATE products SET mine = 'kept'")
    assert counted(run(path)) == {"rows": 200, "unchanged": 200}
    changed = write(folder, good_file(200).replace("7.50", "7.75"), "changed.csv")
    assert counted(run(changed)) == {"rows": 200, "updated": 20, "unchanged": 180}
    assert query("SELECT COUNT(*) FROM products WHERE mine = 'kept'") == [(200,)]


def test_rows_go_into_a_table_without_a_unique_key_once_each(folder: Path) -> None:
    """Mode insert, no key: what each job writes, it writes once."""
    path = write(folder, "line,note\r\n" + "".join(f"{n},x\r\n" for n in range(1, 1001)))
    done = run(path, "ledger", mode="insert", key=None)
    assert counted(done) == {"rows": 1000, "inserted": 1000}
    assert query("SELECT COUNT(*), COUNT(DISTINCT line), SUM(line) FROM ledger") == [(1000, 1000, 500500)]


def test_bad_rows_are_rejects_and_good_ones_are_in(folder: Path) -> None:
    """Each reject says line, column and code, and holds the row's own bytes."""
    text = (
        "sku,name,price,stock\n"
        'A1,"two\nlines",1.00,1\n'
        "A2,x,free,1\n"
        "A3,x,1.00\n"
        "\n"
        "A4,x,1.005,2\n"
        'A5,"x"y,1.00,1\n'
        "A6,x,1.00,99999999999\n"
        ",x,1.00,1\n"
        "A7,NUL\0,1.00,1\n"
        "A8,é,1.00,1\n"
    )
    done = run(write(folder, text))
    assert counted(done) == {"rows": 9, "inserted": 2, "rejected": 7}
    assert rejects(done) == [
        (4, "price", "not_a_number", b"A2,x,free,1"),
        (5, None, "ragged", b"A3,x,1.00"),
        (7, "price", "too_precise", b"A4,x,1.005,2"),
        (8, None, "malformed", b'A5,"x"y,1.00,1'),
        (9, "stock", "out_of_range", b"A6,x,1.00,99999999999"),
        (10, "sku", "null", b",x,1.00,1"),
        (11, "name", "nul_byte", b"A7,NUL\0,1.00,1"),
    ]
    data = text.encode()
    for row in query("SELECT byte_offset, raw FROM import_rejects"):
        assert data[row.byte_offset :].startswith(row.raw)


def test_what_the_server_refuses_is_a_reject_of_the_same_kind(folder: Path) -> None:
    """Line and bytes are known there too, although the server knows only a batch."""
    execute("ALTER TABLE products ADD CONSTRAINT cheap CHECK (price < 100)")
    text = "sku,price\n" + "".join(f"S{n:03d},{n}.00\n" for n in range(120))
    done = run(write(folder, text), chunk_bytes=10_000)
    assert counted(done) == {"rows": 120, "inserted": 100, "rejected": 20}
    assert rejects(done)[0] == (102, None, "check_constraint", b"S100,100.00")


def test_the_last_of_rows_with_one_key_wins_and_the_others_are_counted(folder: Path) -> None:
    """As if the rows had been written one after the other; case and padding as the table's collation has them."""
    done = run(write(folder, "sku,price\na,1\nb,1\nA,2\nß,1\nss,3\n"), chunk_bytes=10_000)
    assert counted(done) == {"rows": 5, "inserted": 4, "superseded": 1}
    assert query("SELECT sku, price FROM products WHERE sku = 'a'") == [("A", 2)]
    execute("DELETE FROM products")
    execute("ALTER TABLE products MODIFY sku VARCHAR(20) COLLATE utf8mb4_unicode_ci NOT NULL")
    done = run(write(folder, "sku,price\nß,7\nss,8\n"), chunk_bytes=10_000)
    assert counted(done)["superseded"] == 1
    assert query("SELECT price FROM products WHERE sku = 'ss'") == [(8,)]


def test_na_is_null_when_nulls_says_so_and_a_reject_when_not(folder: Path) -> None:
    """Nothing turns into 0."""
    path = write(folder, "sku,price,stock\na,1,NA\nb,1,5\n")
    assert counted(run(path, nulls=["NA"])) == {"rows": 2, "inserted": 2}
    assert query("SELECT stock FROM products ORDER BY sku") == [(None,), (5,)]
    assert counted(run(path)) == {"rows": 2, "unchanged": 1, "rejected": 1}


def test_other_dialects_are_read(folder: Path) -> None:
    """Semicolons, cp1252, a byte-order mark, mapped and left-out columns."""
    text = "Artikel;Preis;Egal;Name\nA1;1.50;?;Käse – 5 €\n"
    mapping = {"Artikel": "sku", "Preis": "price", "Egal": None, "Name": "name"}
    path = write(folder, text.encode("cp1252"))
    assert counted(run(path, delimiter=";", encoding="cp1252", mapping=mapping)) == {"rows": 1, "inserted": 1}
    assert query("SELECT sku, price, name FROM products") == [("A1", 1.5, "Käse – 5 €")]
    path = write(folder, b"\xef\xbb\xbf" + text.encode())
    assert counted(run(path, delimiter=";", mapping=mapping)) == {"rows": 1, "unchanged": 1}


@pytest.mark.parametrize("text", ["sku,price", "sku,price\n", "sku,price\r\n\r\n"])
def test_a_header_alone_completes_with_no_rows(folder: Path, text: str) -> None:
    """There was nothing to do, and the result says so."""
    assert counted(run(write(folder, text))) == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"sku,price,price\n", "more than once"),
        (b"sku,prize\n", "did you mean 'price'"),
        (b"sku\nA\n", "nothing for price"),
        (b"sku;price\nA;1\n", "is the delimiter ';'"),
        (b'sku,price\nA,"1\nB,2\n', "line 2: the quote that opens here"),
        (b"sku,price\nA,1\nM\xfcnch,2\n", "line 3: byte 0xfc is not utf-8"),
        ("sku,price\nA,1\n".encode("utf-16"), "UTF-16"),
        (b"sku,price\n" + b"A" * 50_000_000 + b",1\n", "line 2: a record"),
    ],
)
def test_a_hopeless_file_fails_the_run_with_the_reason_and_writes_nothing(
    folder: Path, data: bytes, words: str
) -> None:
    """Before any row is written: what is wrong, on which line, and the remedy."""
    failed = run(write(folder, data))
    assert failed.status is RunStatus.FAILED
    assert words in (failed.reason or "")
    assert "f.csv" in (failed.reason or "") or "products" in (failed.reason or "")
    assert query("SELECT COUNT(*) FROM products") == [(0,)]


def test_what_is_no_file_of_ours_fails_the_run(folder: Path) -> None:
    """Missing, a directory, a FIFO, outside the roots, or a link that leads there: each is named."""
    (folder / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(folder / "fifo")
    (folder / "link.csv").symlink_to("/etc/passwd")
    for source, words in [
        (folder / "none.csv", "no such file"),
        (folder, "a directory"),
        (folder / "fifo", "a FIFO"),
        (Path("/etc/passwd"), "outside the allowed roots"),
        (folder / "link.csv", "outside the allowed roots"),
    ]:
        failed = run(source)
        assert (failed.status, words in (failed.reason or "")) == (RunStatus.FAILED, True), failed.reason


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("runs", {}, "belongs to Holdfast"),
        ("import_rejects", {}, "belongs to Holdfast"),
        ("holdfast_schema", {}, "belongs to Holdfast"),
        ("nowhere", {}, "no such table"),
        ("products", {"key": ["price"]}, "no unique index"),
        ("ledger", {"mapping": {"sku": "note", "price": "line"}, "key": ["line"]}, "no unique index"),
    ],
)
def test_a_target_that_is_not_to_be_written_fails_the_run(
    folder: Path, target: str, options: dict[str, Any], words: str
) -> None:
    """Our own tables, tables that are not there, and keys that could not tell rows apart."""
    failed = run(write(folder, "sku,price\nA,1\n"), target, **options)
    assert (failed.status, words in (failed.reason or "")) == (RunStatus.FAILED, True), failed.reason


def test_only_listed_tables_are_written_where_there_is_a_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IMPORT_TABLES narrows what a producer may name."""
    monkeypatch.setenv("IMPORT_TABLES", "ledger, other")
    clients.reset()
    failed = run(write(folder, "sku,price\nA,1\n"))
    assert "IMPORT_TABLES" in (failed.reason or "")


def test_a_file_that_changes_after_the_plan_fails_the_run(folder: Path) -> None:
    """No job imports bytes that were not planned: by size and time, and by content where someone forged those."""
    path = write(folder, good_file(50))
    planned_time = path.stat().st_mtime_ns
    run_id = start(path)
    path.write_text(good_file(51))
    work_off(IMPORT, run_id)
    assert "changed since the import was planned" in (run_of(run_id).reason or "")
    write(folder, good_file(50))
    os.utime(path, ns=(planned_time, planned_time))
    run_id = start(path)
    path.write_bytes(path.read_bytes().replace(b"S00007", b"S00008"))
    os.utime(path, ns=(planned_time, planned_time))
    work_off(IMPORT, run_id)
    failed = run_of(run_id)
    assert (failed.status, "not the planned ones" in (failed.reason or "")) == (RunStatus.FAILED, True)


def test_a_table_that_is_altered_after_the_plan_fails_the_run(folder: Path) -> None:
    """The values were checked against other columns."""
    run_id = start(write(folder, good_file(50)))
    execute("ALTER TABLE products MODIFY price DECIMAL(4,1) NOT NULL")
    work_off(IMPORT, run_id)
    assert "was altered since" in (run_of(run_id).reason or "")
    assert query("SELECT COUNT(*) FROM products") == [(0,)]


def test_a_run_fails_once_it_has_more_rejects_than_allowed(folder: Path) -> None:
    """The rejects so far stay to be looked at, and no further chunk is written."""
    text = "sku,price\n" + "".join(f"S{n:04d},{'x' if n % 10 == 0 else n}\n" for n in range(1000))
    failed = run(write(folder, text), max_rejects=25)
    assert failed.status is RunStatus.FAILED
    assert "max_rejects is 25" in (failed.reason or "")
    assert 26 <= len(rejects(failed)) <= 30
    assert query("SELECT COUNT(*) < 400 FROM products") == [(1,)]
    assert counted(run(write(folder, text), max_rejects=100))["rejected"] == 100


def test_finish_sees_rejects_that_jobs_at_the_same_time_did_not(folder: Path) -> None:
    """The count within a record misses what others are about to commit; the total does not."""
    run_id = start(write(folder, "sku,price\n" + "S,x\n" * 10), max_rejects=5, chunk_bytes=10_000)
    # The job runs while no limit is there, as if it could not see the other jobs' rejects.
    change = "UPDATE runs SET args = JSON_SET(args, '$.max_rejects', :limit) WHERE run_id = :r"
    execute(change, limit=10, r=run_id)
    run_jobs(IMPORT, run_id, 1, "test")
    execute(change, limit=5, r=run_id)
    work_off(IMPORT, run_id)
    failed = run_of(run_id)
    assert (failed.status, "10 rows or more were rejected" in (failed.reason or "")) == (RunStatus.FAILED, True)


def test_exported_rejects_are_imported_once_they_are_corrected(folder: Path) -> None:
    """The failed rows, with place and reason in front; corrected, the file is a source like any other."""
    text = 'sku;name;price\nA1;"a;\nb";1.00\nA2;"x; ""y""";free\nA3;é;1,00\n'
    options: dict[str, Any] = {"delimiter": ";", "chunk_bytes": 10_000}
    first = run(write(folder, text), **options)
    assert counted(first) == {"rows": 3, "inserted": 1, "rejected": 2}
    out = io.BytesIO()
    with clients.engine().connect() as connection:
        found = export_rejects(connection, first.run_id, out, header=["sku", "name", "price"], delimiter=";")
    assert found == (2, 0)
    lines = list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""), delimiter=";", strict=True))
    assert lines[0] == ["reject_line", "reject_column", "reject_code", "reject_reason", "sku", "name", "price"]
    assert lines[1][:3] == ["4", "price", "not_a_number"]
    assert lines[1][4:] == ["A2", 'x; "y"', "free"]
    corrected = out.getvalue().replace(b"free", b"2.00").replace(b"1,00", b"3.00")
    second = run(write(folder, corrected, "corrected.csv"), **options)
    assert counted(second) == {"rows": 2, "inserted": 2}
    assert query("SELECT sku, name, price FROM products ORDER BY sku")[1:] == [("A2", 'x; "y"', 2), ("A3", "é", 3)]


def test_a_reject_too_long_to_be_kept_whole_is_counted_in_the_export(folder: Path) -> None:
    """It could not be imported again, and nobody should believe it was there."""
    done = run(write(folder, "sku,price\nA,x\nB,y\n"))
    execute("UPDATE import_rejects SET raw_bytes = 99 WHERE line_no = 2")
    out = io.BytesIO()
    with clients.engine().connect() as connection:
        assert export_rejects(connection, done.run_id, out, header=["sku", "price"]) == (1, 1)
    assert len(out.getvalue().splitlines()) == 2


def test_many_rejects_are_stored_in_bounded_statements(folder: Path) -> None:
    """A file of nothing but bad rows, large ones among them, is still one reject a row."""
    text = "sku,price\n" + "".join(f"S{n},{'x' * (n * 400)}\n" for n in range(100)) + "S,x\n" * 2000
    done = run(write(folder, text), chunk_bytes=3_000_000)
    assert counted(done) == {"rows": 2100, "rejected": 2100}
    assert query("SELECT COUNT(*), MAX(LENGTH(raw)), MIN(raw_bytes = LENGTH(raw)) FROM import_rejects") == [
        (2100, 39604, 1)
    ]


def test_a_job_that_is_over_leaves_no_chunk_in_memory(folder: Path) -> None:
    """Not until the garbage collector comes by, either: a worker that does many jobs stays as small as after one."""
    plan = plan_import(IMPORT.arguments(write(folder, good_file(50)), "products", key=["sku"]))
    payload = next(plan)
    with pytest.raises(StopIteration) as end:
        next(plan)
    effects: list[Any] = []
    work = SimpleNamespace(
        args=IMPORT.arguments(folder / "f.csv", "products", key=["sku"]),
        plan=end.value.value,
        payload=payload,
        run_id="r",
        job_no=1,
        engine=clients.engine(),
        stop_if_asked=lambda: None,
        on_record=effects.append,
        effects=effects,
    )
    gc.disable()
    try:
        import_chunk(work)
        left = weakref.ref(effects[0])
        del work, effects
        assert left() is None
    finally:
        gc.enable()


def test_the_migration_and_the_declared_table_are_the_same(folder: Path) -> None:
    """What the code writes to is what the migration made."""
    columns = query(
        "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_schema = DATABASE() "
        "AND table_name = 'import_rejects' ORDER BY ordinal_position"
    )
    declared = [(column.name, "YES" if column.nullable else "NO") for column in import_rejects.columns]
    assert [tuple(row) for row in columns] == declared
