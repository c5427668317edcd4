"""The CSV import as a kind of job: the one module here that knows of runs, and ties the steps to the machinery.

Planning cuts the file into chunks; each job reads one, converts it outside any transaction, and writes it in its record.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath

from sqlalchemy import Connection

from runstate.migrate import VERSION_TABLE
from runstate.models import metadata
from tasks import clients
from tasks.errors import FailRun
from tasks.imports.arguments import import_arguments
from tasks.imports.errors import BadTarget, ImportsError
from tasks.imports.matching import Match, match_columns
from tasks.imports.order import in_key_order, ordering, weights
from tasks.imports.planner import Chunk, cut, read_header
from tasks.imports.reader import read_chunk
from tasks.imports.rejects import count_rejects, forget_rejects, locate, store_rejects
from tasks.imports.report import import_report
from tasks.imports.rows import Rows, convert_chunk
from tasks.imports.source import Pin, Source
from tasks.imports.statement import statement
from tasks.imports.target import Target, read_target
from tasks.imports.values import converters
from tasks.imports.writer import write_rows
from tasks.kinds import Args, JobKind, Json, Work
from tasks.registry import kinds
from tasks.settings import settings

COUNTS = ("rows", "inserted", "updated", "unchanged", "superseded", "rejected")
"""rows = inserted + updated + unchanged + superseded + rejected, in every job and in the run's result."""


def plan_import(args: Args) -> Generator[Json, None, Mapping[str, Json]]:
    """One payload per chunk of the file; returns what every job needs to know of the file and of the table."""
    with _failing_the_run(), Source(args["source"], settings().import_roots) as source:
        dialect = {"delimiter": args["delimiter"], "encoding": args["encoding"]}
        header = read_header(source, **dialect)
        with clients.engine().connect() as connection:
            target = _target(connection, args)
        match = match_columns(
            args["source"], header.names, target, mapping=args["mapping"], key=args["key"], mode=args["mode"]
        )
        # Built here to be refused here, before any job: types, character sets, keys.
        converters(target, match.columns, args["nulls"])
        statement(target, match.columns, args["key"], args["mode"])
        chunks = cut(source, header, chunk_bytes=args["chunk_bytes"], **dialect)
        pin = yield from _payloads(chunks)
        return {
            "pin": pin.as_json(),
            "header": header.names,
            "positions": list(match.positions),
            "columns": list(match.columns),
            "table": target.fingerprint(match.columns),
        }


def import_chunk(work: Work) -> Mapping[str, Json]:
    """Read one chunk, convert its rows, and have them written in the record."""
    args, plan, chunk = work.args, work.plan, Chunk(**work.payload)
    match = Match(len(plan["header"]), tuple(plan["positions"]), tuple(plan["columns"]))
    with _failing_the_run():
        with Source(args["source"], settings().import_roots) as source:
            data = read_chunk(source, Pin.of_json(plan["pin"]), chunk)
        with work.engine.connect() as connection:
            target = _target(connection, args)
        if target.fingerprint(match.columns) != plan["table"]:
            raise BadTarget(target.name, "was altered since the import was planned; start a new import")
        rows, superseded = _rows(work, data, match, target)
        rejects = partial(locate, data, start=chunk.start, first_line=chunk.first_line, delimiter=args["delimiter"])
        stored = rejects(rows.problems)
        write = statement(target, match.columns, args["key"], args["mode"])
    # The effects must not hold the work, which holds them: the chunk would stay in memory until the collector comes by.
    run_id, job_no, max_rejects = work.run_id, work.job_no, args["max_rejects"]

    def effects(connection: Connection) -> dict[str, Json]:
        with _failing_the_run():
            written = write_rows(connection, write, rows)
        store_rejects(connection, run_id, job_no, [*stored, *rejects(written.problems)])
        rejected = len(stored) + len(written.problems)
        counts = (rows.count, written.inserted, written.updated, written.unchanged, superseded, rejected)
        result: dict[str, Json] = dict(zip(COUNTS, counts, strict=True))
        reason = _too_many(connection, run_id, max_rejects) if rejected else None
        return result if reason is None else {**result, "fail_run": reason}

    work.on_record(effects)
    return {"bytes": len(data)}


def finish_import(work: Work) -> Mapping[str, Json]:
    """The run's totals."""
    totals = dict.fromkeys((*COUNTS, "bytes"), 0)
    for result in work.job_results():
        for name in totals:
            totals[name] += result.get(name, 0)
    limit = work.args["max_rejects"]
    if limit is not None and totals["rejected"] > limit:
        # Two last jobs at once do not see each other's rejects; here they are all there.
        raise FailRun(_over(totals["rejected"], limit))
    return {**totals, "sha256": work.plan["pin"]["sha256"]}


def _rows(work: Work, data: bytes, match: Match, target: Target) -> tuple[Rows, int]:
    args = work.args
    order_by = ordering(target, match.columns, args["key"])
    convert = converters(target, match.columns, args["nulls"], key=args["key"] if args["mode"] == "upsert" else ())
    rows = convert_chunk(
        data,
        match,
        convert,
        order_by,
        delimiter=args["delimiter"],
        encoding=args["encoding"],
        between=work.stop_if_asked,
    )
    by = [target.columns[name] for name in order_by]
    return in_key_order(rows, by, weights(work.engine), last_wins=args["mode"] == "upsert")


def _target(connection: Connection, args: Args) -> Target:
    kinds()  # Every kind's tables are declared once its module is imported.
    reserved = {*metadata.tables, VERSION_TABLE}
    return read_target(connection, args["target"], reserved=reserved, allowed=settings().import_tables)


def _too_many(connection: Connection, run_id: str, limit: int | None) -> str | None:
    """Why the run fails, once it has more rejects than allowed.

    What jobs at the same time are about to commit is not seen, so the run may go over by what they reject; `finish_import`
    sees it all.
    """
    if limit is None:
        return None
    rejected = count_rejects(connection, run_id, at_most=limit + 1)
    return _over(rejected, limit) if rejected > limit else None


def _over(rejected: int, limit: int) -> str:
    return f"{rejected} rows or more were rejected, max_rejects is {limit}; see `python -m ops rejects export`"


def _payloads(chunks: Generator[Chunk, None, Pin]) -> Generator[Json, None, Pin]:
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as end:
            pin: Pin = end.value
            return pin
        yield chunk.as_json()


@contextmanager
def _failing_the_run() -> Iterator[None]:
    """What is wrong with the file or the table as a whole is wrong for every job of the run."""
    try:
        yield
    except ImportsError as error:
        raise FailRun(str(error)) from error


def _describe_start(args: Args) -> str:
    key = f" by {', '.join(args['key'])}" if args["mode"] == "upsert" else ""
    return f"{PurePath(args['source']).name} → {args['target']} ({args['mode']}{key})"


def _describe_job(args: Args, payload: Json) -> str:
    return (
        f"{PurePath(args['source']).name} from line {payload['first_line']}, {payload['end'] - payload['start']} bytes"
    )


IMPORT = JobKind(
    name="import",
    queue="imports",
    arguments=import_arguments,
    admission_key=lambda args: str(args["target"]),
    plan=plan_import,
    perform=import_chunk,
    finish=finish_import,
    forget=forget_rejects,
    report=import_report,
    describe_start=_describe_start,
    describe_job=_describe_job,
)
