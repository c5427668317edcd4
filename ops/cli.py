"""The command line: each command is a module with ``add(commands)``, which declares it, and a function, which does it.

A new command is one function ``(options, output) -> exit code``, one subparser that names it in ``set_defaults(run=…)``, and a
line in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from locks import LocksError
from ops import exits
from ops.errors import OpsError, UsageError
from ops.output import Output, error_line
from runstate.errors import NotFound, RunstateError, mysql_code
from runstate.queries import AmbiguousRunId
from tasks.errors import TasksError

COMMANDS = {
    "runs": "ops.runs",
    "dead-letters": "ops.dead_letters",
    "rejects": "ops.rejects",
    "images": "ops.images",
    "email": "ops.email",
    "sync": "ops.sync",
    "queues": "ops.queues",
    "locks": "ops.held_locks",
    "limits": "ops.limits",
    "audit": "ops.audit_log",
    "stats": "ops.statistics",
    "metrics": "ops.metrics",
    "purge": "ops.purge",
    "alerts": "ops.alerts.commands",
    "health": "ops.health",
    "check": "ops.check",
}
"""Which module has which command; only the one that is asked for is loaded, for loading all takes more than a second."""
_NO_SUCH_TABLE = 1146


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(words[0] if words else "").parse_args(words)
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


def parser(command: str = "") -> argparse.ArgumentParser:
    """The command line: this command's part of it, or, of no command's name, all of it."""
    top = argparse.ArgumentParser(
        prog="python -m ops",
        description="Look after Holdfast's runs.",
        epilog="Exit codes: 0 fine, 1 refused or trouble found, 2 not understood or a reason is missing, 3 not there, 130 ^C. "
        "Every command takes --json; whatever changes something takes --reason, --actor and --dry-run.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    for module in [COMMANDS[command]] if command in COMMANDS else COMMANDS.values():
        importlib.import_module(module).add(commands, common)
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
