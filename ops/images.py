"""``ops images show|manifest|prune``: what there is of an image or a destination, and what may go."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output
from ops.parsers import Commands, seconds
from runstate.errors import NotFound
from tasks import clients
from tasks.images.assets import dests
from tasks.images.manifest import Entry, find_entry, manifest, srcset, write_manifest
from tasks.images.prune import AGE_S, prune_variants

SHOWN = 20


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the commands."""
    group = commands.add_parser("images", help="the variants of images: list, export, prune").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser("show", parents=[common], help="the destinations, or one source's variants")
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="an original, with --dest")
    parser.add_argument("--dest", metavar="FOLDER", help="where its variants are")
    parser.set_defaults(run=show)
    parser = group.add_parser("manifest", parents=[common], help="write source → variants of a destination as JSON")
    parser.add_argument("dest", metavar="FOLDER")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there instead of to standard output")
    parser.set_defaults(run=export)
    parser = group.add_parser(
        "prune", parents=[common], help="remove variants that no source wants, and files that no row points to"
    )
    parser.add_argument("dest", metavar="FOLDER")
    parser.add_argument(
        "--older-than",
        type=seconds,
        default=AGE_S,
        metavar="SECONDS",
        help="what is younger stays: an image may be at work on it (default %(default)s)",
    )
    parser.add_argument(
        "--missing-sources", action="store_true", help="first forget the sources whose file was removed"
    )
    add_actor(parser)
    parser.set_defaults(run=prune)


def show(options: argparse.Namespace, output: Output) -> int:
    """Print the destinations; or of one source, its asset and its files."""
    if (options.source is None) != (options.dest is None):
        raise UsageError("name a source together with its --dest, or neither")
    with clients.engine().connect() as connection:
        if options.source is None:
            found = dests(connection)
            if output.as_json:
                output.document(found)
            else:
                rows = [(row["path"], row["sources"], row["files"], row["bytes"]) for row in found]
                output.table(("DEST", "SOURCES>", "FILES>", "BYTES>"), rows)
            return exits.OK
        entry = find_entry(connection, options.dest, options.source)
    if entry is None:
        raise NotFound(f"{options.dest} has nothing of {options.source}")
    if output.as_json:
        output.document(_with_srcset(entry))
    else:
        _print_entry(entry, output)
    return exits.OK


def export(options: argparse.Namespace, output: Output) -> int:
    """Write the manifest; with ``--json`` and ``--out``, say what was written where."""
    with clients.engine().connect() as connection:
        if options.out is None:
            # One line a source: the whole may not fit into memory.
            separator = '{"images": [\n'
            for entry in manifest(connection, options.dest):
                sys.stdout.write(separator + json.dumps(entry.as_json(), ensure_ascii=False, sort_keys=True))
                separator = ",\n"
            sys.stdout.write('{"images": []}\n' if separator.startswith("{") else "\n]}\n")
            return exits.OK
        count = write_manifest(connection, options.dest, options.out)
    if output.as_json:
        output.document({"dest": options.dest, "images": count, "out": str(options.out)})
    else:
        output.say(f"{count} images: {options.out}")
    return exits.OK


def prune(options: argparse.Namespace, output: Output) -> int:
    """Remove orphans, or with ``--dry-run`` say what would be removed."""
    actor = None if options.dry_run else actor_of(options)
    done = prune_variants(
        options.dest,
        actor,
        dry_run=options.dry_run,
        age_s=options.older_than,
        missing_sources=options.missing_sources,
    )
    if output.as_json:
        output.document({"dry_run": options.dry_run, **asdict(done)})
        return exits.OK
    for name in done.names[:SHOWN]:
        output.say(name)
    if len(done.names) > SHOWN:
        output.say("…")
    output.say(
        f"{'would be removed' if options.dry_run else 'removed'}: {done.unwanted} variants that no source wants, "
        f"{done.fileless} rows whose file is gone, {done.rowless} files without a row, {done.leftovers} leftovers, "
        f"{done.sources} sources that are gone; {done.bytes} bytes"
    )
    return exits.OK


def _with_srcset(entry: Entry) -> dict[str, object]:
    formats = sorted({each for files in entry.variants.values() for each in files})
    return {**entry.as_json(), "srcset": {each: srcset(entry, each) for each in formats}}


def _print_entry(entry: Entry, output: Output) -> None:
    asset = entry.asset
    output.say(f"{entry.source}: {asset.format}, {asset.width} × {asset.height}, {asset.bytes} bytes")
    output.say(f"sha256 {asset.content_hash}")
    rows = [
        (name, each, file.width, file.height, file.bytes, file.colour, file.path)
        for name, formats in entry.variants.items()
        for each, file in formats.items()
    ]
    output.table(("VARIANT", "FORMAT", "WIDTH>", "HEIGHT>", "BYTES>", "COLOUR", "FILE"), rows)
