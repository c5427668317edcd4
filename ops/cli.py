"""The command line: each command is a module with ``add(commands)``, which declares it, and a function, which does it.

A new command is one function ``(options, output) -> exit code`` and one subparser that names it in ``set_defaults(run=…)``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from locks import LocksError
from ops import (
    audit_log,
    check,
    dead_letters,
    email,
    exits,
    health,
    held_locks,
    images,
    limits,
    metrics,
    purge,
    queues,
    rejects,
    runs,
    statistics,
    sync,
)
from ops.alerts import commands as alert_commands
from ops.errors import OpsError, UsageError
from ops.output import Output, error_line
from runstate.errors import NotFound, RunstateError, mysql_code
from runstate.queries import AmbiguousRunId
from tasks.errors import TasksError

_NO_SUCH_TABLE = 1146


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = parser().parse_args(arguments)
    output = Output(as_json=options.json)
    try:
        code: int = options.run(options, output)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except (UsageError, AmbiguousRunId) as error:
        return _failed(output, error, exits.USAGE)
    except NotFound as error:
        return _failed(output, error, exits.NOT_FOUND)
    except (OpsError, RunstateError, TasksError, LocksError, OperationalError, SQLAlchemyError, OSError) as error:
        return _failed(output, error, exits.TROUBLE)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m ops",
        description="Look after Holdfast's runs.",
        epilog="Exit codes: 0 fine, 1 refused or trouble found, 2 not understood or a reason is missing, 3 not there, 130 ^C. "
        "Every command takes --json; whatever changes something takes --reason, --actor and --dry-run.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    for module in (
        runs,
        dead_letters,
        rejects,
        images,
        email,
        sync,
        queues,
        held_locks,
        limits,
        audit_log,
        statistics,
        metrics,
        purge,
        alert_commands,
        health,
        check,
    ):
        module.add(commands, common)
    return top


def _failed(output: Output, error: Exception, code: int) -> int:
    message = _message(error)
    if output.as_json:
        output.document({"error": {"class": type(error).__name__, "message": message}})
    error_line(message)
    return code


def _message(error: Exception) -> str:
    if not isinstance(error, SQLAlchemyError):
        return str(error)
    if mysql_code(error) == _NO_SUCH_TABLE:
        return "the database lacks Holdfast's tables: run `python -m runstate.migrate`"
    # Without the statement and its parameters, which may hold payloads.
    return f"MySQL: {getattr(error, 'orig', None) or error}"
