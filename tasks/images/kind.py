"""Image batches as a kind of job: the one module here that knows of runs, and ties the steps to the machinery.

Planning looks which sources are new or changed; each job makes one image's missing variants outside any transaction, puts
the files where they belong, and only then, in its record, writes the rows that point to them.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePath

from sqlalchemy import Connection

from runstate import letters
from runstate.letters import Filter, Group
from runstate.transaction import in_transaction
from tasks import clients, failpoints
from tasks.errors import FailRun, Permanent, ResourceTrouble, Retry, Snooze
from tasks.images import (
    assets,
    tables,  # noqa: F401 - declares the kind's tables, so that the migrations and the schema can be compared
)
from tasks.images.arguments import batch_arguments, image_arguments
from tasks.images.assets import Asset, Source, VariantFile, hash_of_text
from tasks.images.engine import Engine, Output, Probed
from tasks.images.errors import CODES, DestRefused, ImageError, PixelsBusy
from tasks.images.naming import result_name
from tasks.images.planner import is_complete, plan_sources
from tasks.images.report import batch_report
from tasks.images.sets import VariantSet, hash_of, set_of
from tasks.images.sources import SourcesRefused, check_in_place, expand, locate
from tasks.images.storage import LocalFolder
from tasks.images.variants import Variant, check_variants
from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.settings import settings

COUNTS = ("images", "encoded", "skipped", "bytes", "changed")
"""Of a job: images is 1; encoded and skipped count files, bytes those that were encoded; changed: since it was planned."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ENTRY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def plan_batch(args: Args) -> Generator[Json, None, Mapping[str, Json]]:
    """One payload per source that is new or changed, or lacks a variant."""
    with _failing_the_run():
        storage = _storage(args)
        sources = expand(args["sources"], settings().image_roots, leave_out=storage.path)
        wanted = set_of(_variants(args))
        counted = yield from plan_sources(sources, wanted, str(storage.path), storage, clients.engine().connect)
        return {"found": counted.found, "unchanged": counted.unchanged}


def plan_image(args: Args) -> Generator[Json, None, Mapping[str, Json]]:
    """The one image's payload, or none if nothing is to be done."""
    return (yield from plan_batch({**args, "sources": [args["source"]]}))


def make_variants(work: Work) -> Mapping[str, Json]:
    """Make what one image lacks, put the files in their places, and have the rows written in the record."""
    args, payload = work.args, work.payload
    with _failing_the_run():
        storage = _storage(args)
    dest = str(storage.path)
    variants = _variants(args)
    wanted = set_of(variants)
    source = str(payload["source"])
    with _answering(source):
        if payload.get("bad_name"):
            raise ImageError("bad_name", "rename it")
        read_ns = time.time_ns()
        real = locate(source, settings().image_roots)
        probed = _engine().probe(real)
        check_in_place(source, real, probed.signature)
        by_spec = {variant.spec_hash(each): (variant, each) for variant in variants for each in variant.formats}
        with work.engine.connect() as connection:
            rows = assets.find_variants(connection, hash_of_text(dest), [probed.sha256])[probed.sha256]
            introduced = _is_introduced(work.run_id, connection, dest, wanted)
        there = [spec for spec in by_spec if spec in rows and is_complete(rows[spec], storage)]
        missing = {spec: by_spec[spec] for spec in by_spec if spec not in there}
        made = _make(work, real, probed, missing, storage) if missing else []
    failpoints.hit("images.before_record")
    _, _, size, mtime_ns = probed.signature
    row = Source(source, size, mtime_ns, read_ns, probed.sha256, hash_of(wanted))
    work.on_record(_Rows(dest, _asset(probed), made, there, row, wanted, introduced=introduced))
    return {
        "images": 1,
        "encoded": len(made),
        "skipped": len(there),
        "bytes": sum(file.bytes for file in made),
        "changed": int("size" in payload and (payload["size"], payload["mtime_ns"]) != (size, mtime_ns)),
    }


def finish_batch(work: Work) -> Mapping[str, Json]:
    """The run's totals; ``failed`` counts dead letters by code."""
    totals = dict.fromkeys(COUNTS, 0)
    for result in work.job_results():
        for name in totals:
            totals[name] += result.get(name, 0)
    failed: dict[str, int] = {}
    for group in in_transaction(work.engine, lambda c: _given_up(c, work.run_id)):
        code = group.example.partition(":")[0]
        code = code if code in CODES else group.error_class
        failed[code] = failed.get(code, 0) + group.count
    return {**work.plan, **totals, "failed": failed}


def _given_up(connection: Connection, run_id: str) -> list[Group]:
    # Those that were replayed meanwhile are done.
    return [
        group
        for status in ("dead", "discarded")
        for group in letters.groups(connection, Filter(run_id=run_id, status=status))
    ]


class _Rows:
    """The effects of one job; they hold nothing of the work, which holds them."""

    def __init__(
        self,
        dest: str,
        asset: Asset,
        made: list[VariantFile],
        there: list[str],
        source: Source,
        wanted: VariantSet,
        *,
        introduced: bool,
    ) -> None:
        self._dest, self._asset, self._made, self._there = dest, asset, made, there
        self._source, self._wanted, self._introduced = source, wanted, introduced

    def __call__(self, connection: Connection) -> None:
        dest_hash, content = hash_of_text(self._dest), self._asset.content_hash
        if self._there and len(assets.hold_variants(connection, dest_hash, content, self._there)) < len(self._there):
            raise Retry("variants that were there a moment ago have been pruned; they are made again")
        if not self._introduced:
            assets.write_dest(connection, self._dest)
            assets.write_set(connection, self._wanted)
        assets.write_asset(connection, self._asset)
        assets.write_variants(connection, dest_hash, self._made)
        assets.write_source(connection, dest_hash, self._source, self._wanted)


def _make(
    work: Work, real: Path, probed: Probed, missing: Mapping[str, tuple[Variant, str]], storage: LocalFolder
) -> list[VariantFile]:
    with _storing(storage):
        rendered = _engine().render(
            real, list(missing.values()), storage.incoming(), probed=probed, between=work.stop_if_asked
        )
        outputs = dict(zip(missing, rendered.outputs, strict=True))
        files = {spec: _variant_file(probed, spec, output) for spec, output in outputs.items()}
        storage.put({files[spec].path: output.path for spec, output in outputs.items()})
    return list(files.values())


def _variant_file(probed: Probed, spec: str, output: Output) -> VariantFile:
    return VariantFile(
        content_hash=probed.sha256,
        spec_hash=spec,
        format=output.format,
        path=result_name(probed.sha256, spec, output.format, output.width, output.height, output.sha256),
        width=output.width,
        height=output.height,
        bytes=output.bytes,
        sha256=output.sha256,
        colour=output.dominant_colour,
    )


def _asset(probed: Probed) -> Asset:
    sides = (probed.height, probed.width) if probed.orientation >= 5 else (probed.width, probed.height)
    return Asset(probed.sha256, probed.format, *sides, probed.frames, probed.bytes)


@lru_cache(maxsize=1)
def _engine() -> Engine:
    """This process' engine; after a fork it starts a decoder of its own."""
    return Engine(budget_dir=settings().var / "image-budget")


def _storage(args: Args) -> LocalFolder:
    return LocalFolder(args["dest"], settings().image_dest_roots)


_last_introduced: str | None = None


def _is_introduced(run_id: str, connection: Connection, dest: str, wanted: VariantSet) -> bool:
    """Whether the rows that all of a run's jobs share are there: seen once, they need not be written by the others."""
    global _last_introduced
    if _last_introduced != run_id and assets.is_introduced(connection, dest, wanted):
        _last_introduced = run_id
    return _last_introduced == run_id


_last_variants: tuple[Json, tuple[Variant, ...]] | None = None


def _variants(args: Args) -> tuple[Variant, ...]:
    """Checked once per run, for a worker mostly does the jobs of one run after another."""
    global _last_variants
    if _last_variants is None or _last_variants[0] != args["variants"]:
        _last_variants = (args["variants"], check_variants(args["variants"]))
    return _last_variants[1]


@contextmanager
def _failing_the_run() -> Iterator[None]:
    """What is wrong with the destination or the pattern is wrong for every image of the run."""
    try:
        yield
    except (SourcesRefused, DestRefused) as error:
        raise FailRun(str(error)) from error


@contextmanager
def _answering(source: str) -> Iterator[None]:
    """What is wrong with one image, as the machinery's answers; the letter names the code first and the file last."""
    try:
        yield
    except PixelsBusy as busy:
        raise Snooze(str(busy), delay_s=busy.retry_after_s) from busy
    except ImageError as error:
        # In quotes, so that letters are grouped by their trouble and not by their file.
        message = f"{error}: {source!r}"
        if error.verdict == "resources":
            raise ResourceTrouble(message) from error
        if error.verdict == "retry":
            raise Retry(message) from error
        raise Permanent(message, code=error.code) from error


@contextmanager
def _storing(storage: LocalFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise ImageError(
                "disk_full", f"{storage.path}: {error.strerror}; make room, then resume the run"
            ) from error
        if error.errno in _NO_ENTRY:
            raise ImageError(
                "not_writable", f"{storage.path}: {error.strerror}; mend it, then resume the run"
            ) from error
        raise


def _describe_batch(args: Args) -> str:
    sources = args["sources"]
    what = sources if isinstance(sources, str) else f"{len(sources)} images"
    return f"{what} → {args['dest']} ({_names(args)})"


def _describe_image(args: Args) -> str:
    return f"{PurePath(args['source']).name} → {args['dest']} ({_names(args)})"


def _names(args: Args) -> str:
    return ", ".join(variant["name"] for variant in args["variants"])


def _describe_job(_args: Args, payload: Json) -> str:
    return PurePath(payload["source"]).name


_BACKOFF = Backoff(max_attempts=3, base_s=1.0, cap_s=30.0)
"""An image that kills its decoder, or needs more memory or time than allowed, three times is a dead letter."""

IMAGE_BATCH = JobKind(
    name="image_batch",
    queue="images",
    arguments=batch_arguments,
    admission_key=lambda args: str(args["dest"]),
    spooled=("sources",),
    plan=plan_batch,
    perform=make_variants,
    finish=finish_batch,
    report=batch_report,
    describe_start=_describe_batch,
    describe_job=_describe_job,
    backoff=_BACKOFF,
)

IMAGE = JobKind(
    name="image",
    start_name="process_image",
    queue="images",
    arguments=image_arguments,
    plan=plan_image,
    perform=make_variants,
    finish=finish_batch,
    report=batch_report,
    describe_start=_describe_image,
    describe_job=_describe_job,
    backoff=_BACKOFF,
)
