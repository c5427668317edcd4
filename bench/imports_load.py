"""An import from `.delay()` to `completed` against one `LOAD DATA LOCAL INFILE` of the same file, alternating in one run.

    python -m bench.imports_load [--rows 1000000] [--rounds 3] [--workers 2] [--memory]

Both go into the same kind of table on the same private server; the table is made anew each time.  Printed are rows a second,
the ratio (1.0: as fast as LOAD DATA, which checks nothing), and what a second import of the same file costs.  ``--memory``:
instead, the peak memory of a worker for a tenth, the whole and three times the rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pymysql

from bench.imports_data import COLUMNS, CREATE_TABLE, TABLE, write_file
from stack.private import Servers, private_servers

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
        private_servers(Path(directory) / "servers", buffer_mb=1024) as servers,
    ):
        folder = Path(directory)
        os.environ.update(servers.environment() | {"HOLDFAST_VAR": directory, "IMPORT_ROOTS": directory})
        workers = start_workers(folder, options.workers)
        try:
            if options.memory:
                _memory(servers, folder, [options.rows // 10, options.rows, options.rows * 3])
            else:
                _rates(servers, folder, options.rows, options.rounds)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
    return 0


def _rates(servers: Servers, folder: Path, rows: int, rounds: int) -> None:
    path = folder / "products.csv"
    write_file(path, rows)
    print(f"{rows} rows, {path.stat().st_size / 1e6:.0f} MB")
    ratios, again = [], []
    for number in range(1, rounds + 1):
        load_s = _load_data(servers, path, rows)
        ours_s = _import(servers, path, rows, fresh=True)
        second_s = _import(servers, path, rows, fresh=False)
        ratios.append(load_s / ours_s)
        again.append(load_s / second_s)
        print(
            f"round {number}: LOAD DATA {rows / load_s:7.0f}/s   Holdfast {rows / ours_s:7.0f}/s ({load_s / ours_s:.2f})   "
            f"the same file again {rows / second_s:7.0f}/s ({load_s / second_s:.2f})"
        )
    print(f"median ratio {statistics.median(ratios):.2f}, of a second import {statistics.median(again):.2f}")


def _memory(servers: Servers, folder: Path, sizes: list[int]) -> None:
    for rows in sizes:
        path = folder / f"products{rows}.csv"
        write_file(path, rows)
        _import(servers, path, rows, fresh=True)
        connection = connect(servers)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT MAX(IF(job_no = 0, peak_memory_kb, 0)), MAX(IF(job_no > 0, peak_memory_kb, 0)), COUNT(*) "
                "FROM job_attempts JOIN runs USING (run_id) WHERE args LIKE %s",
                (f"%{path.name}%",),
            )
            plan_kb, job_kb, jobs = cursor.fetchone() or (0, 0, 0)
        connection.close()
        path.unlink()
        print(
            f"{rows:9d} rows: planning {plan_kb / 1024:4.0f} MiB, jobs {job_kb / 1024:4.0f} MiB at most ({jobs} attempts)"
        )


def _load_data(servers: Servers, path: Path, rows: int) -> float:
    connection = connect(servers)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(CREATE_TABLE)
        started = time.monotonic()
        cursor.execute(
            f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {TABLE} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' "
            f"OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n' IGNORE 1 LINES ({COLUMNS})"
        )
        connection.commit()
        took_s = time.monotonic() - started
        _check(cursor, rows)
    connection.close()
    return took_s


def _import(servers: Servers, path: Path, rows: int, *, fresh: bool) -> float:
    from tasks import start_import

    connection = connect(servers)
    with connection.cursor() as cursor:
        if fresh:
            cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
            cursor.execute(CREATE_TABLE)
            connection.commit()
        started = time.monotonic()
        result = start_import.delay(str(path), TABLE, key=["sku"])
        result.get(timeout=1200, interval=0.05)
        took_s = time.monotonic() - started
        _check(cursor, rows)
    connection.close()
    counts = result.run().result
    assert counts["inserted" if fresh else "unchanged"] == counts["rows"] == rows, counts
    return took_s


def _check(cursor: pymysql.cursors.Cursor, rows: int) -> None:
    cursor.execute(f"SELECT COUNT(*) FROM {TABLE}")
    assert cursor.fetchone() == (rows,)


def connect(servers: Servers) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
    ends = servers.endpoints
    return pymysql.connect(
        host="127.0.0.1",
        port=ends.mariadb_port,
        user="root",
        password=ends.mariadb_root_password,
        database="holdfast",
        charset="utf8mb4",
        local_infile=True,
        autocommit=True,
    )


def start_workers(folder: Path, imports: int) -> list[subprocess.Popen[bytes]]:
    """As in supervisord.conf: a control worker, ``imports`` workers of one child each, a dispatcher."""
    celery = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "warning", "-c", "1"]
    commands = [
        [*celery, "-Q", "control", "-n", "control@%h"],
        *([*celery, "-Q", "imports", "-n", f"imports{number}@%h"] for number in range(imports)),
        [sys.executable, "-m", "tasks.dispatcher"],
    ]
    processes = []
    for number, command in enumerate(commands):
        with (folder / f"process{number}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT))
    return processes


if __name__ == "__main__":
    sys.exit(main())
