"""``ops rejects export|replay RUN``: the rows that an import rejected, as a CSV file to correct and import again."""

from __future__ import annotations

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output
from ops.parsers import Commands
from runstate import audit, jobs, queries, runs
from runstate.runs import Run
from runstate.transaction import in_transaction
from tasks import clients
from tasks.imports.kind import IMPORT
from tasks.imports.rejects import export_rejects, find_rejects
from tasks.start import start_task


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``rejects export`` and ``rejects replay``."""
    group = commands.add_parser("rejects", help="the rows that imports rejected").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser(
        "export",
        parents=[common],
        help="write a run's rejects as CSV, each with its line, column, code and reason before its own fields",
    )
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there instead of to standard output")
    parser.set_defaults(run=export)
    parser = group.add_parser(
        "replay", parents=[common], help="import a corrected export, with the arguments of the run that rejected it"
    )
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    parser.add_argument("--file", metavar="FILE", type=Path, required=True, help="the export, corrected")
    add_actor(parser)
    parser.set_defaults(run=replay)


def export(options: argparse.Namespace, output: Output) -> int:
    """Write the rejects; with ``--json`` a list of them, or with ``--out`` as well what was written where."""
    run = in_transaction(clients.engine(), lambda c: runs.get(c, queries.resolve_run_id(c, options.run_id)))
    if run.kind != IMPORT.name:
        raise UsageError(f"run {run.run_id} is of kind {run.kind}; only imports have rejects")
    with clients.engine().connect() as connection:
        if output.as_json and options.out is None:
            output.document(_as_objects(connection, run))
            return exits.OK
        if options.out is None:
            exported, cut = _write(connection, run, sys.stdout.buffer)
        else:
            exported, cut = _write_file(connection, run, options.out)
    if output.as_json:
        output.document({"run_id": run.run_id, "exported": exported, "cut": cut, "out": str(options.out)})
    else:
        left_out = f"; {cut} left out that were too long to be kept whole" if cut else ""
        print(f"{exported} rejects of run {run.run_id}{left_out}", file=sys.stderr)
    return exits.OK


def _write(connection: Connection, run: Run, out: BinaryIO) -> tuple[int, int]:
    # The planning read the header; a run that was never planned has none, and no rejects either.
    header = jobs.result_of(connection, run.run_id, 0).get("header", [])
    return export_rejects(
        connection,
        run.run_id,
        out,
        header=header,
        delimiter=run.args["delimiter"],
        encoding=run.args["encoding"],
    )


def _write_file(connection: Connection, run: Run, path: Path) -> tuple[int, int]:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as out:
            counts = _write(connection, run, out)
        # Whole or not at all: nobody imports half a file.
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return counts


def _as_objects(connection: Connection, run: Run) -> list[dict[str, object]]:
    return [
        {
            "line": row.line_no,
            "byte_offset": row.byte_offset,
            "job_no": row.job_no,
            "column": row.column_name,
            "code": row.code,
            "reason": row.reason,
            "text": row.raw.decode(run.args["encoding"], errors="backslashreplace"),
            "base64": base64.b64encode(row.raw).decode("ascii"),
            "bytes": row.raw_bytes,
        }
        for row in find_rejects(connection, run.run_id)
    ]


def replay(options: argparse.Namespace, output: Output) -> int:
    """Start an import of the corrected rows: same table, key, mapping and mode, through admission like any start."""
    run = in_transaction(clients.engine(), lambda c: runs.get(c, queries.resolve_run_id(c, options.run_id)))
    if run.kind != IMPORT.name:
        raise UsageError(f"run {run.run_id} is of kind {run.kind}; only imports have rejects")
    arguments = {**run.args, "source": str(options.file.absolute())}
    if options.dry_run:
        output.document({"dry_run": "would start an import", "arguments": arguments})
        return exits.OK
    actor = actor_of(options)
    result = start_task(IMPORT).delay(**arguments)
    in_transaction(
        clients.engine(),
        lambda c: audit.write(
            c,
            actor,
            "replay_rejects",
            run.run_id,
            {"source": run.args["source"]},
            {"run_id": result.run_id, **arguments},
        ),
    )
    if output.as_json:
        output.document({"run_id": result.run_id, "arguments": arguments})
    else:
        output.say(
            f"run {result.run_id} imports {arguments['source']}; follow it: python -m ops runs watch {result.run_id}"
        )
    return exits.OK
