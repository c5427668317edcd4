"""Flower's settings, each with the failure it prevents.

Flower executes this file before its app is built, and takes every name here that is one of its options for a setting: so
nothing may be imported under a name such as ``logging``, ``port`` or ``debug``.
"""

import os as _os
import sys as _sys
from pathlib import Path as _Path

# Flower does not put the working directory on the path.
_here = _Path(__file__).resolve().parent
_sys.path.insert(0, str(_here))

from urllib.parse import urlsplit as _urlsplit

from ops.pages import install as _install_pages
from stack.endpoints import free_port as _free_port
from stack.endpoints import port_is_free as _port_is_free
from stack.envfile import read_env as _read_env
from stack.layout import var_dir as _var_dir
from stack.plan import STACK_MARK as _STACK_MARK
from stack.redact import redact as _redact

_values = {**_read_env(_var_dir() / "stack.env"), **_os.environ}
_of_the_stack = _STACK_MARK in _os.environ
_password = _values.get("FLOWER_PASSWORD")
if not _password:
    # Without a password Flower is open to everyone on this host, and to any page in a browser on it.
    raise SystemExit("Flower has no password: run `make up` once, or set FLOWER_PASSWORD")

# Loopback only: its buttons stop workers.  To see it from elsewhere, put a proxy with TLS before it, or use `ssh -L`.
address = "127.0.0.1"
port = _urlsplit(_values.get("FLOWER_URL", "")).port or _free_port()
if not _of_the_stack and not _port_is_free(port):
    # The stack's own Flower has it; one that is started by hand takes another (or --port).
    port = _free_port()

_user = _values.get("FLOWER_USER") or "holdfast"
if not _values.get("FLOWER_AUTH"):
    # The generated user, and those of FLOWER_BASIC_AUTH.  With OAuth (FLOWER_AUTH) neither: Flower would ask for both.
    basic_auth = [f"{_user}:{_password}", *(_values.get("FLOWER_BASIC_AUTH") or "").split(",")]
    basic_auth = [pair for pair in basic_auth if ":" in pair]
else:
    # Said here, too: from stack.env alone Flower would not hear of it, and with neither it is open to everybody.
    auth = _values["FLOWER_AUTH"]
# The operators' pages, with tabs on each page of Flower, and who may do what on them.
_install_pages(roles=_values.get("FLOWER_ROLES"), admin=_user, metrics_token=_values.get("FLOWER_METRICS_TOKEN"))

# Its history would die with the process; saved only at exit, it would die with a crash.
persistent = _of_the_stack
db = str(_var_dir() / "flower" / "history")
state_save_interval = 60_000
# 100,000 tasks take some 300 MB, and each save of them stops Flower for seconds.
max_tasks = 20_000

# What a job is about, without a click.
tasks_columns = "name,args,state,received,started,runtime,worker,retries,uuid"


def format_task(task):  # type: ignore[no-untyped-def]
    for name in ("args", "kwargs", "result", "exception", "traceback"):
        value = getattr(task, name, None)
        if isinstance(value, str):
            setattr(task, name, _redact(value))
    return task
