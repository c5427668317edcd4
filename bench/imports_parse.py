"""What one process does with a chunk before the server sees it, step by step, with `csv.reader` alone as the unit.

    python -m bench.imports_parse [--rows 100000] [--rounds 5]

No server.  The rows are those of `bench.imports_load`; each rate is the best of the rounds.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict

from bench.imports_data import write_file
from tasks.imports.matching import Match
from tasks.imports.order import in_key_order
from tasks.imports.planner import cut, read_header
from tasks.imports.reader import strict_rows
from tasks.imports.rows import Rows, convert_chunk
from tasks.imports.source import Source
from tasks.imports.statement import statement
from tasks.imports.values import converters
from tests.unit.imports_tables import column, table


class Dialect(TypedDict):
    """How the file is written."""

    delimiter: str
    encoding: str


DIALECT: Dialect = {"delimiter": ",", "encoding": "utf-8"}
TARGET = table(
    column("sku", "varchar(32)", nullable=False),
    column("name", "varchar(100)", nullable=False),
    column("description", "text"),
    column("category", "varchar(40)"),
    column("price", "decimal(10,2)", nullable=False),
    column("weight", "decimal(8,3)"),
    column("stock", "int(11)", nullable=False),
    column("active", "tinyint(1)", nullable=False),
    column("released", "date"),
    column("updated_at", "datetime"),
    column("supplier_id", "int(11)"),
    column("ean", "bigint(20)"),
    uniques={"uq_sku": ("sku",)},
)
NAMES = tuple(TARGET.columns)


def main() -> int:
    """Print rows a second of each step, and its time relative to csv.reader's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        path = Path(directory) / "products.csv"
        write_file(path, options.rows)
        with Source(str(path), [directory]) as source:
            header = read_header(source, **DIALECT)
            chunks = list(cut(source, header, chunk_bytes=4 * 1024 * 1024, **DIALECT))
            datas = [source.read(chunk.start, chunk.end - chunk.start) for chunk in chunks]
            steps: dict[str, Callable[[], object]] = {
                "csv.reader": lambda: [_consume(csv.reader(io.StringIO(data.decode(), newline=""))) for data in datas],
                "plan (cut, hash, validate)": lambda: list(cut(source, header, chunk_bytes=4 * 1024 * 1024, **DIALECT)),
                "parse": lambda: [_consume(strict_rows(data, **DIALECT)) for data in datas],
                "parse, convert": lambda: [_convert(data) for data in datas],
                "parse, convert, order, build": lambda: [_build(data) for data in datas],
            }
            unit = 0.0
            for name, step in steps.items():
                best = min(_timed(step) for _ in range(options.rounds))
                unit = unit or best
                print(f"{name:30s} {options.rows / best:9.0f} rows/s   {best / unit:5.2f} × csv.reader")
    return 0


def _consume(rows: Iterable[object]) -> int:
    return len(deque(rows, maxlen=1))


def _convert(data: bytes) -> Rows:
    match = Match(len(NAMES), tuple(range(len(NAMES))), NAMES)
    return convert_chunk(data, match, converters(TARGET, NAMES, [""], key=["sku"]), ["sku"], **DIALECT)


def _build(data: bytes) -> int:
    rows, _ = in_key_order(_convert(data), [TARGET.columns["sku"]], lambda *_: [], last_wins=True)
    assert not rows.problems
    how = statement(TARGET, NAMES, ["sku"], "upsert")
    return sum(len(how.text(rows.values[start : start + 5000]).encode()) for start in range(0, len(rows.values), 5000))


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
